/**
 * Calls an agent with the client of @a2a-js/sdk 0.3.14 and prints one JSON document of what it saw.
 *
 * Each step is `{"ok": true, "value": …}` or `{"ok": false, "error": "TypeName", "message": …}`,
 * the latter with the JSON-RPC `code` and `data` or the `status` of HTTP or gRPC where the error
 * has them. Values are A2A 0.3, as the SDK has them. The steps and the prefixes of their message
 * ids are those of `../python/client_v03.py`, and two more: `send_file` and `send_nulls`.
 */

import { randomUUID } from 'node:crypto';
import { setTimeout as sleep } from 'node:timers/promises';
import { parseArgs } from 'node:util';

import {
  ClientFactory,
  createAuthenticatingFetchWithRetry,
  DefaultAgentCardResolver,
  JsonRpcTransportFactory,
  RestTransportFactory,
} from '@a2a-js/sdk/client';
import { GrpcTransportFactory } from '@a2a-js/sdk/client/grpc';

const STEP_TIMEOUT_MS = 15_000;
const SECOND_EVENT_TIMEOUT_MS = 1_000;
// By gRPC the SDK can send no `null` in metadata, so only the last step has any.
const METADATA = { trace: 't-1', count: 3, ratio: 0.25, nested: { list: [1] } };
const NULLS = { trace: 't-1', count: 3, ratio: 0.25, none: null, nested: { list: [1, null] } };
const CONFIG_ID = 'config-1';
// They are no UTF-8, and their base64 has both of the characters `+` and `/`.
const FILE = Buffer.from('fbefbeff0080c1fe01f5fa0a', 'hex');

const TRANSPORTS = {
  JSONRPC: JsonRpcTransportFactory,
  'HTTP+JSON': RestTransportFactory,
  GRPC: GrpcTransportFactory,
};
const CODES = {
  TaskNotFoundError: -32001,
  TaskNotCancelableError: -32002,
  PushNotificationNotSupportedError: -32003,
  UnsupportedOperationError: -32004,
  ContentTypeNotSupportedError: -32005,
  InvalidAgentResponseError: -32006,
  AuthenticatedExtendedCardNotConfiguredError: -32007,
};

/** The step was not run, because an earlier one left nothing to work with. */
class Skipped extends Error {
  name = 'Skipped';
}

class TimeoutError extends Error {
  name = 'TimeoutError';
}

/**
 * Returns the code, the data and the status of an error, as far as it has them.
 *
 * The SDK's own error types have no message of the server by JSON-RPC but keep the answer, and by
 * HTTP+JSON an error without a type has its status only in the text. The error that ends a stream
 * of JSON-RPC is the cause of another one.
 */
function details(error) {
  const answer = error.errorResponse?.error;
  if (answer) return { code: answer.code, message: answer.message, data: answer.data };
  if (error.cause?.errorResponse) return details(error.cause);
  const status = /(?:Status|stream for \S+): (\d{3})\b/.exec(error.message);
  return {
    code: CODES[error.name],
    status: status ? Number(status[1]) : error.cause?.details && error.cause.code,
    ...(error.cause && { message: `${error.message} (${error.cause})` }),
  };
}

/** Runs steps one after the other and keeps their outcomes in order. */
class Steps {
  #outcomes = {};

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
      this.#outcomes[name] = { ok: false, error: type, message, ...details(error) };
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
function need(value, step) {
  if (!value) throw new Skipped(`needs the result of the step '${step}'`);
  return value;
}

function refuse(message) {
  console.error(message);
  process.exit(2);
}

async function all(stream) {
  const events = [];
  for await (const event of stream) events.push(event);
  return events;
}

/** Returns the first event of a stream, and the second one if it comes soon, then closes it. */
async function firstEvents(open, signal) {
  const closing = new AbortController();
  const stream = open(AbortSignal.any([signal, closing.signal]))[Symbol.asyncIterator]();
  try {
    const first = await stream.next();
    if (first.done) throw new Error('the stream ended before its first event');
    // Closing the stream makes a second event that is still awaited fail, which nobody sees.
    const next = stream.next();
    next.catch(() => {});
    const second = await Promise.race([next, sleep(SECOND_EVENT_TIMEOUT_MS, { done: true })]);
    return second.done ? [first.value] : [first.value, second.value];
  } finally {
    closing.abort();
  }
}

/** Sends metadata with each gRPC call. A call credential would not do: it requires TLS. */
class MetadataOnCall {
  constructor(metadata) {
    this.metadata = metadata;
  }

  async before(args) {
    const serviceParameters = { ...args.options?.serviceParameters, ...this.metadata };
    args.options = { ...args.options, serviceParameters };
  }

  async after() {}
}

/** Resolves cards and keeps the last one. */
class Resolver extends DefaultAgentCardResolver {
  async resolve(url, path) {
    this.card = await super.resolve(url, path);
    return this.card;
  }
}

/** Returns a request whose message id starts with `prefix`, about `task` if there is one. */
function request(prefix, { text = 'hello', parts, task, metadata, configuration } = {}) {
  const message = {
    kind: 'message',
    messageId: prefix + randomUUID().replaceAll('-', ''),
    role: 'user',
    parts: parts ?? [{ kind: 'text', text }],
    ...(task && { taskId: task.id, contextId: task.contextId }),
    ...(metadata && { metadata }),
  };
  return { message, ...(configuration && { configuration }) };
}

const { values: args } = parseArgs({
  options: {
    base: { type: 'string' },
    key: { type: 'string', default: '' },
    binding: { type: 'string', default: 'JSONRPC' },
    agent: { type: 'string' },
    'push-url': { type: 'string', default: 'https://push.example.com/hook' },
  },
});
if (!args.base) refuse('--base is required');
if (!(args.binding in TRANSPORTS)) {
  refuse(`--binding must be one of: ${Object.keys(TRANSPORTS).join(', ')}`);
}

let client;
let done;
let waiting;

async function connect() {
  const authorization = args.key && `Bearer ${args.key}`;
  const fetchImpl = createAuthenticatingFetchWithRetry(fetch, {
    headers: async () => (authorization ? { Authorization: authorization } : {}),
    shouldRetryWithHeaders: async () => undefined,
  });
  const metadata = {
    ...(authorization && { authorization }),
    ...(args.agent && { 'a2a-agent': args.agent }),
  };
  const cardResolver = new Resolver({ fetchImpl });
  const factory = new ClientFactory({
    transports: [new TRANSPORTS[args.binding]({ fetchImpl })],
    clientConfig: { interceptors: args.binding === 'GRPC' ? [new MetadataOnCall(metadata)] : [] },
    cardResolver,
  });
  // The SDK would look beside a base without a trailing slash, so it gets the whole address.
  const address = `${args.base.replace(/\/+$/, '')}/.well-known/agent-card.json`;
  client = await factory.createFromUrl(address, '');
  return cardResolver.card;
}

const connected = () => need(client, 'card');
const doneId = () => need(done, 'send').id;

const send = (prefix, options) => async (signal) =>
  connected().sendMessage(request(prefix, options), { signal });
const stream = (prefix) => async (signal) =>
  all(connected().sendMessageStream(request(prefix), { signal }));

/** Starts a task that stays open and returns its id. */
async function hold(signal) {
  const task = await send('hold-', { configuration: { blocking: false } })(signal);
  return task.id;
}

const steps = new Steps();
await steps.run('card', connect);
await steps.run('send', async (signal) => {
  done = await send('send-', { metadata: METADATA })(signal);
  return done;
});
await steps.run('send_message_reply', send('message-'));
await steps.run('stream', stream('stream-'));
await steps.run('stream_message_reply', stream('message-'));
await steps.run('stream_chunks', stream('chunks-3-8-10-'));
await steps.run('get', async (signal) => client.getTask({ id: doneId() }, { signal }));
await steps.run('get_history_0', async (signal) =>
  client.getTask({ id: doneId(), historyLength: 0 }, { signal }),
);
await steps.run('cancel', async (signal) =>
  client.cancelTask({ id: await hold(signal) }, { signal }),
);
await steps.run('resubscribe', async (signal) => {
  const id = await hold(signal);
  return firstEvents((either) => client.resubscribeTask({ id }, { signal: either }), signal);
});
await steps.run('input_required', async (signal) => {
  waiting = await send('input-')(signal);
  return waiting;
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
await steps.run('push_set', async (signal) => {
  const pushNotificationConfig = {
    id: CONFIG_ID,
    url: args['push-url'],
    token: 'token-1',
    authentication: { schemes: ['Bearer'], credentials: 'secret-1' },
  };
  const config = { taskId: doneId(), pushNotificationConfig };
  return client.setTaskPushNotificationConfig(config, { signal });
});
await steps.run('push_get', async (signal) => {
  const wanted = { id: doneId(), pushNotificationConfigId: CONFIG_ID };
  return client.getTaskPushNotificationConfig(wanted, { signal });
});
await steps.run('push_list', async (signal) =>
  client.listTaskPushNotificationConfig({ id: doneId() }, { signal }),
);
await steps.run('push_delete', async (signal) => {
  const wanted = { id: doneId(), pushNotificationConfigId: CONFIG_ID };
  await client.deleteTaskPushNotificationConfig(wanted, { signal });
});
// The SDK asks only if the card announces an extended one.
await steps.run('extended_card', async (signal) => connected().getAgentCard({ signal }));
await steps.run('get_missing', async (signal) =>
  connected().getTask({ id: 'no-such-task' }, { signal }),
);
await steps.run('cancel_finished', async (signal) =>
  client.cancelTask({ id: doneId() }, { signal }),
);
await steps.run('send_file', async (signal) => {
  const file = { bytes: FILE.toString('base64'), name: 'input.bin', mimeType: 'image/x-test' };
  return send('file-', { parts: [{ kind: 'file', file }] })(signal);
});
await steps.run('send_nulls', send('send-', { metadata: NULLS }));
steps.print();
