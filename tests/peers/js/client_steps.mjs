/**
 * What the two test clients share: one conversation in named steps, whose outcomes become one JSON
 * document.
 *
 * A test wants to see every answer of one conversation, so a step that fails is an entry of the
 * document and not the end of the run. A step that needs the result of a failed one says so. The
 * steps and the prefixes of their message ids are those of `../python/client_v1.py`.
 */

import { randomUUID } from 'node:crypto';
import { setTimeout as sleep } from 'node:timers/promises';

const STEP_TIMEOUT_MS = 15_000;
const SECOND_EVENT_TIMEOUT_MS = 1_000;
const METADATA = { trace: 't-1', count: 3, ratio: 0.25, none: null, nested: { list: [1, null] } };
const CONFIG_ID = 'config-1';

/** Where a push notification config points unless the command line says otherwise. */
export const PUSH_URL = 'https://push.example.com/hook';

/** The step was not run, because an earlier one left nothing to work with. */
class Skipped extends Error {
  name = 'Skipped';
}

class TimeoutError extends Error {
  name = 'TimeoutError';
}

/** Runs steps one after the other and keeps their outcomes in order. */
export class Steps {
  #outcomes = {};
  #details;

  /** `details` reads what a library's errors say beyond their name and text. */
  constructor(details) {
    this.#details = details;
  }

  /** Runs `step` with a signal that ends its calls, and keeps its value or its error. */
  async run(name, step) {
    const expiry = new AbortController();
    let timer;
    const expired = new Promise((_, reject) => {
      timer = setTimeout(() => {
        // The rejection comes first, so the step cannot win with the error of its aborted call.
        reject(new TimeoutError(`no answer within ${STEP_TIMEOUT_MS / 1000} s`));
        expiry.abort();
      }, STEP_TIMEOUT_MS);
    });
    try {
      const value = await Promise.race([step(expiry.signal), expired]);
      this.#outcomes[name] = { ok: true, value: value ?? null };
    } catch (error) {
      const { name: type, message } = error;
      this.#outcomes[name] = { ok: false, error: type, message, ...this.#details(error) };
    } finally {
      clearTimeout(timer);
    }
  }

  /** Prints the document and ends the process, which idle connections would keep alive. */
  print() {
    process.stdout.write(`${JSON.stringify(this.#outcomes)}\n`, () => process.exit(0));
  }
}

/** Returns `value`, which `step` should have left behind. */
export function need(value, step) {
  if (!value) throw new Skipped(`needs the result of the step '${step}'`);
  return value;
}

/** Ends the process unless `args` has all of `names`. */
export function demand(args, ...names) {
  for (const name of names) {
    if (!args[name]) refuse(`--${name} is required`);
  }
}

/** Ends the process unless the `value` of the argument `name` is one of `allowed`. */
export function check(name, value, allowed) {
  if (!allowed.includes(value)) refuse(`--${name} must be one of: ${allowed.join(', ')}`);
}

function refuse(message) {
  console.error(message);
  process.exit(2);
}

/** Returns the first event of a stream, and the second one if it comes soon, then closes it. */
async function firstEvents(open, signal) {
  const closing = new AbortController();
  const stream = open(AbortSignal.any([signal, closing.signal]))[Symbol.asyncIterator]();
  try {
    const first = await stream.next();
    if (first.done) throw new Error('the stream ended before its first event');
    // Closing the stream makes a second event that is still awaited fail, which nobody sees.
    const late = sleep(SECOND_EVENT_TIMEOUT_MS, { done: true });
    const second = await Promise.race([stream.next(), late]);
    return second.done ? [first.value] : [first.value, second.value];
  } finally {
    closing.abort();
  }
}

async function all(stream) {
  const events = [];
  for await (const event of stream) events.push(event);
  return events;
}

/** Returns a request whose message id starts with `prefix`, about `task` if there is one. */
function request(prefix, { text = 'hello', task, metadata, configuration } = {}) {
  const message = {
    messageId: prefix + randomUUID().replaceAll('-', ''),
    role: 'ROLE_USER',
    parts: [{ text }],
    ...(task && { taskId: task.id, contextId: task.contextId }),
    ...(metadata && { metadata }),
  };
  return { message, ...(configuration && { configuration }) };
}

/**
 * Has the whole conversation with `agent`, except the step `card`.
 *
 * The methods of `agent` are the operations of A2A, spelled as in the proto but for the first
 * letter. Each takes a request and an `AbortSignal` and returns the answer, or a stream of answers;
 * requests and answers are ProtoJSON.
 */
export async function converse(steps, agent, pushUrl) {
  let done;
  let waiting;

  const send = (prefix, options) => (signal) => agent.sendMessage(request(prefix, options), signal);
  const stream = (prefix) => (signal) => all(agent.sendStreamingMessage(request(prefix), signal));
  /** Starts a task that stays open and returns its id. */
  const hold = async (signal) => {
    const answer = await send('hold-', { configuration: { returnImmediately: true } })(signal);
    return answer.task.id;
  };
  const doneId = () => need(done, 'send').id;

  await steps.run('send', async (signal) => {
    const answer = await send('send-', { metadata: METADATA })(signal);
    done = answer.task;
    return answer;
  });
  await steps.run('send_message_reply', send('message-'));
  await steps.run('stream', stream('stream-'));
  await steps.run('stream_message_reply', stream('message-'));
  await steps.run('stream_chunks', stream('chunks-3-8-10-'));
  await steps.run('get', async (signal) => agent.getTask({ id: doneId() }, signal));
  await steps.run('get_history_0', async (signal) =>
    agent.getTask({ id: doneId(), historyLength: 0 }, signal),
  );
  await steps.run('list', async (signal) =>
    agent.listTasks({ contextId: need(done, 'send').contextId }, signal),
  );
  await steps.run('cancel', async (signal) => agent.cancelTask({ id: await hold(signal) }, signal));
  await steps.run('subscribe', async (signal) => {
    const id = await hold(signal);
    return firstEvents((either) => agent.subscribeToTask({ id }, either), signal);
  });
  await steps.run('subscribe_finished', async (signal) => {
    const id = doneId();
    return firstEvents((either) => agent.subscribeToTask({ id }, either), signal);
  });
  await steps.run('input_required', async (signal) => {
    const answer = await send('input-')(signal);
    waiting = answer.task;
    return answer;
  });
  await steps.run('continue', async (signal) =>
    send('more-', { text: 'the rest', task: need(waiting, 'input_required') })(signal),
  );
  for (const kind of ['text', 'file', 'url', 'data']) {
    await steps.run(`artifact_${kind}`, send(`artifact-${kind}-`));
  }
  await steps.run('reject', send('reject-'));
  await steps.run('fail', send('fail-'));
  await steps.run('raise', send('raise-'));
  await steps.run('stream_raise', stream('raise-'));
  await steps.run('error_content_type', send('error-', { text: 'ContentTypeNotSupported' }));
  await steps.run('error_unsupported', send('error-', { text: 'UnsupportedOperation' }));
  await steps.run('push_create', async (signal) => {
    const config = {
      taskId: doneId(),
      id: CONFIG_ID,
      url: pushUrl,
      token: 'token-1',
      authentication: { scheme: 'Bearer', credentials: 'secret-1' },
    };
    return agent.createTaskPushNotificationConfig(config, signal);
  });
  await steps.run('push_get', async (signal) =>
    agent.getTaskPushNotificationConfig({ taskId: doneId(), id: CONFIG_ID }, signal),
  );
  await steps.run('push_list', async (signal) =>
    agent.listTaskPushNotificationConfigs({ taskId: doneId() }, signal),
  );
  await steps.run('push_delete', async (signal) => {
    await agent.deleteTaskPushNotificationConfig({ taskId: doneId(), id: CONFIG_ID }, signal);
  });
  await steps.run('extended_card', (signal) => agent.getExtendedAgentCard({}, signal));
  await steps.run('get_missing', (signal) => agent.getTask({ id: 'no-such-task' }, signal));
  await steps.run('cancel_finished', async (signal) => agent.cancelTask({ id: doneId() }, signal));
}
