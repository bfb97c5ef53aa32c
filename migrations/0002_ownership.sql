-- Tasks and contexts belong to whoever made them. What is deleted stays as a row: its id is never free again.

-- By which binding its agent was called.
ALTER TABLE tasks ADD COLUMN agent_binding TEXT NOT NULL DEFAULT '';
-- When it reached a state that no task leaves.
ALTER TABLE tasks ADD COLUMN ended_at BIGINT;

ALTER TABLE contexts ADD COLUMN agent_binding TEXT NOT NULL DEFAULT '';
ALTER TABLE contexts ADD COLUMN agent_version TEXT NOT NULL DEFAULT '';
-- What its owner calls it, where the agent knows it by another id.
ALTER TABLE contexts ADD COLUMN client_id TEXT NOT NULL DEFAULT '';
-- The call that claimed it, as long as nobody else has used it and nothing is known to have been sent.
ALTER TABLE contexts ADD COLUMN claim TEXT NOT NULL DEFAULT '';

-- Lists of whoever a task belongs to, the last change first: a key, a key without a team, a team, a conversation.
CREATE INDEX tasks_key ON tasks (agent_id, key_id, state_at, task_id) WHERE deleted_at IS NULL;
CREATE INDEX tasks_alone ON tasks (agent_id, key_id, state_at, task_id) WHERE deleted_at IS NULL AND team_id = '';
CREATE INDEX tasks_team ON tasks (agent_id, team_id, state_at, task_id) WHERE deleted_at IS NULL AND team_id <> '';
CREATE INDEX tasks_context ON tasks (agent_id, context_id, state_at, task_id) WHERE deleted_at IS NULL;
-- Lists of administrators.
CREATE INDEX tasks_agent ON tasks (agent_id, state_at, task_id) WHERE deleted_at IS NULL;
-- What may still change, of which there is little.
CREATE INDEX tasks_open ON tasks (agent_id, state_at, task_id) WHERE deleted_at IS NULL AND ended_at IS NULL;
-- What has ended, for the job that forgets it.
CREATE INDEX tasks_ended ON tasks (ended_at) WHERE deleted_at IS NULL AND ended_at IS NOT NULL;
