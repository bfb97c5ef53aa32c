-- The first schema, for SQLite and PostgreSQL alike: TEXT and BIGINT, times in microseconds since 1970 (UTC), money in
-- millionths, documents as ProtoJSON of proto/switchboard/v1, flags as 0 and 1. What is deleted stays as a row with
-- deleted_at: its id, and a key's hash, are never free again.

-- Counts the changes of each kind of row; readers poll it. Every writer of a kind takes its row first, so numbers become
-- visible in their order.
CREATE TABLE revision (topic TEXT PRIMARY KEY, n BIGINT NOT NULL);
INSERT INTO revision (topic, n) VALUES ('agents', 0), ('keys', 0), ('teams', 0), ('access_groups', 0);

-- What one installation has once: sealed secrets and the proof of the encryption key.
CREATE TABLE meta (name TEXT PRIMARY KEY, value TEXT NOT NULL);

CREATE TABLE agents (
    id TEXT PRIMARY KEY,
    name TEXT NOT NULL,
    team_id TEXT NOT NULL,
    doc TEXT NOT NULL,
    sealed TEXT NOT NULL,
    revision BIGINT NOT NULL,
    seq BIGINT NOT NULL,
    created_at BIGINT NOT NULL,
    created_by TEXT NOT NULL,
    updated_at BIGINT NOT NULL,
    updated_by TEXT NOT NULL,
    deleted_at BIGINT,
    spend_micros BIGINT NOT NULL DEFAULT 0
);
CREATE UNIQUE INDEX agents_name ON agents (name) WHERE deleted_at IS NULL;
CREATE INDEX agents_seq ON agents (seq);

-- Names and aliases of agents: each means one agent.
CREATE TABLE agent_names (name TEXT PRIMARY KEY, agent_id TEXT NOT NULL);
CREATE INDEX agent_names_agent ON agent_names (agent_id);

CREATE TABLE teams (
    id TEXT PRIMARY KEY,
    name TEXT NOT NULL,
    team_id TEXT NOT NULL,
    doc TEXT NOT NULL,
    sealed TEXT NOT NULL,
    revision BIGINT NOT NULL,
    seq BIGINT NOT NULL,
    created_at BIGINT NOT NULL,
    created_by TEXT NOT NULL,
    updated_at BIGINT NOT NULL,
    updated_by TEXT NOT NULL,
    deleted_at BIGINT,
    requests_per_minute_max BIGINT NOT NULL DEFAULT 0,
    tokens_per_minute_max BIGINT NOT NULL DEFAULT 0,
    calls_max BIGINT NOT NULL DEFAULT 0,
    streams_max BIGINT NOT NULL DEFAULT 0,
    budget_micros BIGINT,
    budget_seconds BIGINT,
    budget_resets_at BIGINT,
    spend_micros BIGINT NOT NULL DEFAULT 0,
    reserved_micros BIGINT NOT NULL DEFAULT 0
);
CREATE UNIQUE INDEX teams_name ON teams (name) WHERE deleted_at IS NULL AND name <> '';
CREATE INDEX teams_seq ON teams (seq);

CREATE TABLE access_groups (
    id TEXT PRIMARY KEY,
    name TEXT NOT NULL,
    team_id TEXT NOT NULL,
    doc TEXT NOT NULL,
    sealed TEXT NOT NULL,
    revision BIGINT NOT NULL,
    seq BIGINT NOT NULL,
    created_at BIGINT NOT NULL,
    created_by TEXT NOT NULL,
    updated_at BIGINT NOT NULL,
    updated_by TEXT NOT NULL,
    deleted_at BIGINT
);
CREATE UNIQUE INDEX access_groups_name ON access_groups (name) WHERE deleted_at IS NULL;
CREATE INDEX access_groups_seq ON access_groups (seq);

CREATE TABLE keys (
    id TEXT PRIMARY KEY,
    name TEXT NOT NULL,
    team_id TEXT NOT NULL,
    doc TEXT NOT NULL,
    sealed TEXT NOT NULL,
    revision BIGINT NOT NULL,
    seq BIGINT NOT NULL,
    created_at BIGINT NOT NULL,
    created_by TEXT NOT NULL,
    updated_at BIGINT NOT NULL,
    updated_by TEXT NOT NULL,
    deleted_at BIGINT,
    -- SHA-256 in hex of the whole key, and of the one before it as long as that is taken too.
    hash TEXT NOT NULL,
    former_hash TEXT,
    former_until BIGINT,
    user_id TEXT NOT NULL DEFAULT '',
    agent_id TEXT NOT NULL DEFAULT '',
    requests_per_minute_max BIGINT NOT NULL DEFAULT 0,
    tokens_per_minute_max BIGINT NOT NULL DEFAULT 0,
    calls_max BIGINT NOT NULL DEFAULT 0,
    streams_max BIGINT NOT NULL DEFAULT 0,
    budget_micros BIGINT,
    budget_seconds BIGINT,
    budget_resets_at BIGINT,
    spend_micros BIGINT NOT NULL DEFAULT 0,
    reserved_micros BIGINT NOT NULL DEFAULT 0
);
CREATE UNIQUE INDEX keys_hash ON keys (hash);
CREATE UNIQUE INDEX keys_former_hash ON keys (former_hash) WHERE former_hash IS NOT NULL;
CREATE UNIQUE INDEX keys_name ON keys (name) WHERE deleted_at IS NULL AND name <> '';
CREATE INDEX keys_team ON keys (team_id, id) WHERE deleted_at IS NULL AND team_id <> '';
CREATE INDEX keys_user ON keys (user_id, id) WHERE deleted_at IS NULL AND user_id <> '';
CREATE INDEX keys_agent ON keys (agent_id, id) WHERE deleted_at IS NULL AND agent_id <> '';
CREATE INDEX keys_seq ON keys (seq);

-- Every value that a key ever had: none of them is free again.
CREATE TABLE key_hashes (hash TEXT PRIMARY KEY, key_id TEXT NOT NULL);

-- Who a task belongs to and where it lives.
CREATE TABLE tasks (
    agent_id TEXT NOT NULL,
    task_id TEXT NOT NULL,
    context_id TEXT NOT NULL,
    key_id TEXT NOT NULL,
    team_id TEXT NOT NULL,
    user_id TEXT NOT NULL,
    caller_version TEXT NOT NULL,
    endpoint_id TEXT NOT NULL,
    agent_version TEXT NOT NULL,
    state TEXT NOT NULL,
    state_at BIGINT NOT NULL,
    provider_ref TEXT,
    created_at BIGINT NOT NULL,
    deleted_at BIGINT,
    PRIMARY KEY (agent_id, task_id)
);

CREATE TABLE contexts (
    agent_id TEXT NOT NULL,
    context_id TEXT NOT NULL,
    key_id TEXT NOT NULL,
    team_id TEXT NOT NULL,
    user_id TEXT NOT NULL,
    endpoint_id TEXT NOT NULL,
    provider_ref TEXT,
    created_at BIGINT NOT NULL,
    deleted_at BIGINT,
    PRIMARY KEY (agent_id, context_id)
);

-- One row for each change that an administrator made, written in the same transaction.
CREATE TABLE audit (
    id TEXT PRIMARY KEY,
    at BIGINT NOT NULL,
    actor_id TEXT NOT NULL,
    actor_name TEXT NOT NULL,
    method TEXT NOT NULL,
    resource_id TEXT NOT NULL,
    resource_name TEXT NOT NULL,
    revision BIGINT NOT NULL,
    -- What changed, as a JSON object of fields; secrets are not in it.
    detail TEXT NOT NULL
);
CREATE INDEX audit_at ON audit (at);
