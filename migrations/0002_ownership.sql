-- Tasks and contexts belong to whoever made them. What is deleted stays as a row: its id is never free again.

-- By which binding its agent was called.
ALTER TABLE tasks ADD COLUMN agent_binding TEXT NOT NULL DEFAULT '';
-- When it reached a state that no task leaves.
ALTER TABLE tasks ADD COLUMN ended_at BIGINT;
-- In whose lists it is: the team's, or, when it was made in no team, the key's; and whose key made it. Both are empty once
-- it is deleted, so an index of theirs has nothing but what is listed, and counting reads no rows.
ALTER TABLE tasks ADD COLUMN shared_with TEXT;
ALTER TABLE tasks ADD COLUMN made_by TEXT;

ALTER TABLE contexts ADD COLUMN agent_binding TEXT NOT NULL DEFAULT '';
ALTER TABLE contexts ADD COLUMN agent_version TEXT NOT NULL DEFAULT '';
-- What its owner calls it, where the agent knows it by another id.
ALTER TABLE contexts ADD COLUMN client_id TEXT NOT NULL DEFAULT '';
-- The call that claimed it, as long as nobody else has used it and nothing is known to have been sent.
ALTER TABLE contexts ADD COLUMN claim TEXT NOT NULL DEFAULT '';

-- Lists of whoever a task belongs to, the last change first, and of a conversation.
CREATE INDEX tasks_shared ON tasks (agent_id, shared_with, state_at, task_id, state);
CREATE INDEX tasks_made ON tasks (agent_id, made_by, state_at, task_id, state);
CREATE INDEX tasks_context ON tasks (agent_id, context_id, state_at, task_id);
-- Lists of administrators.
CREATE INDEX tasks_agent ON tasks (agent_id, state_at, task_id) WHERE deleted_at IS NULL;
-- What may still change, of which there is little.
CREATE INDEX tasks_open ON tasks (agent_id, shared_with, state_at, task_id) WHERE deleted_at IS NULL AND ended_at IS NULL;
-- What has ended, for the job that forgets it.
CREATE INDEX tasks_ended ON tasks (ended_at) WHERE deleted_at IS NULL AND ended_at IS NOT NULL;
