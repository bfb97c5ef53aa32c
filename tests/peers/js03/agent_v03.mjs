/**
 * A native A2A 0.3 test agent, made with @a2a-js/sdk 0.3.14: JSON-RPC, HTTP+JSON and gRPC.
 *
 * The prefix of `message.messageId` chooses what the agent does, as in `../python/agent_v03.py`.
 */

import { randomUUID } from 'node:crypto';
import { once } from 'node:events';
import { setTimeout as sleep } from 'node:timers/promises';
import { parseArgs, promisify } from 'node:util';

import { A2AError, DefaultRequestHandler, InMemoryTaskStore } from '@a2a-js/sdk/server';
import {
  agentCardHandler,
  jsonRpcHandler,
  restHandler,
  UserBuilder,
} from '@a2a-js/sdk/server/express';
import { A2AService, grpcService, UserBuilder as GrpcUserBuilder } from '@a2a-js/sdk/server/grpc';
import * as grpc from '@grpc/grpc-js';
import express from 'express';

const HOST = '127.0.0.1';
const HOLD_MS = 6_000;
const DATA = {
  name: 'report',
  count: 42,
  ratio: 0.5,
  none: null,
  nested: { none: null, flag: true, empty: {} },
  list: [1, null, 'two', [3]],
};
const ERRORS = {
  TaskNotFound: -32001,
  TaskNotCancelable: -32002,
  PushNotificationNotSupported: -32003,
  UnsupportedOperation: -32004,
  ContentTypeNotSupported: -32005,
  InvalidAgentResponse: -32006,
  AuthenticatedExtendedCardNotConfigured: -32007,
  InvalidRequest: -32600,
  MethodNotFound: -32601,
  InvalidParams: -32602,
  Internal: -32603,
};

const textPart = (text = 'generated text') => ({ kind: 'text', text });

const ARTIFACTS = {
  'artifact-text-': textPart(),
  'artifact-file-': {
    kind: 'file',
    file: {
      // These bytes are no UTF-8, and their base64 has both of the characters `+` and `/`.
      bytes: Buffer.from('\xfb\xef\xbe\xff\x00 file body\n', 'latin1').toString('base64'),
      name: 'output.bin',
      mimeType: 'application/octet-stream',
    },
  },
  'artifact-url-': {
    kind: 'file',
    file: {
      uri: 'https://example.com/output.txt',
      name: 'output.txt',
      mimeType: 'text/plain',
    },
  },
  'artifact-data-': { kind: 'data', data: DATA },
};

function textOf(message) {
  return message.parts.map((part) => part.text ?? '').join('');
}

/** Returns the file parts of a message, and a text that says which bytes they hold. */
function received(message) {
  const files = message.parts.filter((part) => part.kind === 'file');
  const bytes = Buffer.concat(files.map(({ file }) => Buffer.from(file.bytes ?? '', 'base64')));
  const start = bytes.subarray(0, 8).toString('hex');
  return [...files, textPart(`received ${bytes.length} bytes: ${start}`)];
}

/** Publishes the events of one task. */
class Updater {
  #bus;
  #ids;

  constructor(bus, taskId, contextId) {
    this.#bus = bus;
    this.#ids = { taskId, contextId };
  }

  /** Publishes a state. A final one ends streams, in 0.3 also that of an interrupted task. */
  status(state, { text, final = true } = {}) {
    const message = text && {
      kind: 'message',
      messageId: randomUUID(),
      role: 'agent',
      parts: [textPart(text)],
      ...this.#ids,
    };
    const status = { state, timestamp: new Date().toISOString(), ...(message && { message }) };
    this.#bus.publish({ kind: 'status-update', ...this.#ids, status, final });
  }

  artifact(parts, fields) {
    const artifact = { artifactId: 'a1', parts, ...(!fields && { name: 'out' }) };
    const { append = false, lastChunk = true } = fields ?? {};
    this.#bus.publish({ kind: 'artifact-update', ...this.#ids, artifact, append, lastChunk });
  }
}

class Executor {
  #canceled = new Set();

  async execute({ userMessage: message, taskId, contextId, task: known }, bus) {
    const { messageId, metadata } = message;
    if (messageId.startsWith('message-')) {
      bus.publish({
        kind: 'message',
        role: 'agent',
        messageId: `reply-${messageId}`,
        contextId,
        parts: [textPart(`echo: ${textOf(message)}`)],
        ...(metadata && { metadata }),
      });
      bus.finished();
      return;
    }
    if (!known) {
      bus.publish({
        kind: 'task',
        id: taskId,
        contextId,
        status: { state: 'submitted', timestamp: new Date().toISOString() },
        history: [message],
        ...(metadata && { metadata }),
      });
    }
    await this.#work(message, taskId, new Updater(bus, taskId, contextId));
    bus.finished();
  }

  async #work(message, taskId, task) {
    const { messageId } = message;
    for (const [prefix, part] of Object.entries(ARTIFACTS)) {
      if (messageId.startsWith(prefix)) {
        task.artifact([part]);
        task.status('completed');
        return;
      }
    }
    const chunks = /^chunks-(\d+)-(\d+)-(\d+)-/.exec(messageId);
    if (chunks) {
      await this.#streamChunks(task, ...chunks.slice(1).map(Number));
    } else if (messageId.startsWith('file-')) {
      task.artifact(received(message));
      task.status('completed');
    } else if (messageId.startsWith('input-')) {
      task.status('input-required', { text: 'more input please' });
    } else if (messageId.startsWith('reject-')) {
      task.status('rejected', { text: 'rejected on request' });
    } else if (messageId.startsWith('fail-')) {
      task.status('working', { final: false });
      task.status('failed', { text: 'failed on request' });
    } else if (messageId.startsWith('raise-')) {
      task.status('working', { final: false });
      throw new Error('the executor raised on request');
    } else if (messageId.startsWith('hold-')) {
      task.status('working', { final: false });
      await sleep(HOLD_MS);
      if (!this.#canceled.delete(taskId)) task.status('completed', { text: 'held to the end' });
    } else {
      task.status('completed', { text: `echo: ${textOf(message)}` });
    }
  }

  async #streamChunks(task, count, size, delayMs) {
    task.status('working', { final: false });
    for (let i = 0; i < count; i += 1) {
      task.artifact([textPart('x'.repeat(size))], { append: i > 0, lastChunk: i === count - 1 });
      await sleep(delayMs);
    }
    task.status('completed');
  }

  async cancelTask(taskId, bus) {
    this.#canceled.add(taskId);
    // The SDK does not say here which context the task is in, and clients need one.
    const { contextId } = await tasks.load(taskId);
    new Updater(bus, taskId, contextId).status('canceled');
    bus.finished();
  }
}

/** The SDK makes a failed task of any error of the executor, so the errors come from here. */
class Handler extends DefaultRequestHandler {
  async sendMessage(params, context) {
    refuse(params.message);
    return super.sendMessage(params, context);
  }

  async *sendMessageStream(params, context) {
    refuse(params.message);
    yield* super.sendMessageStream(params, context);
  }
}

/** Throws the A2A error that the message asks for, with or without the suffix "Error". */
function refuse(message) {
  if (!message.messageId?.startsWith('error-')) return;
  const name = textOf(message).trim().replace(/Error$/, '');
  throw new A2AError(ERRORS[name] ?? ERRORS.Internal, `asked for: ${name}Error`);
}

function makeCard(ready, args) {
  return {
    name: 'Test agent v03',
    description: 'Behaves as the prefix of messageId asks (@a2a-js/sdk 0.3.14).',
    version: '1.0.0',
    protocolVersion: '0.3.0',
    provider: { organization: 'Switchboard tests', url: 'https://example.com' },
    url: ready.jsonrpc,
    preferredTransport: 'JSONRPC',
    additionalInterfaces: [
      { transport: 'JSONRPC', url: ready.jsonrpc },
      { transport: 'HTTP+JSON', url: ready.rest },
      { transport: 'GRPC', url: ready.grpc },
    ],
    capabilities: { streaming: true, pushNotifications: args.push },
    supportsAuthenticatedExtendedCard: args['ext-card'],
    defaultInputModes: ['text/plain'],
    defaultOutputModes: ['text/plain'],
    skills: [{ id: 'echo', name: 'Echo', description: 'Says it again.', tags: ['test'] }],
  };
}

/** Returns `card` with one more skill, so that a test can tell the two apart. */
function makeExtended(card) {
  const skill = { id: 'extended', name: 'Extended', description: 'For known callers.' };
  return { ...card, skills: [...card.skills, { ...skill, tags: ['test'] }] };
}

const { values: args } = parseArgs({
  options: {
    push: { type: 'boolean', default: false },
    'ext-card': { type: 'boolean', default: false },
  },
});

// Stdout is for the ready line alone, and the SDK reports on it.
console.log = console.error;
console.info = console.error;
process.stdin.on('end', () => process.exit(0)).resume();

const app = express();
const server = app.listen(0, HOST);
await once(server, 'listening');
const grpcServer = new grpc.Server();
const bind = promisify(grpcServer.bindAsync.bind(grpcServer));
const grpcPort = await bind(`${HOST}:0`, grpc.ServerCredentials.createInsecure());

const url = `http://${HOST}:${server.address().port}`;
const ready = {
  url,
  jsonrpc: `${url}/a2a/jsonrpc`,
  rest: `${url}/a2a/rest`,
  grpc: `${HOST}:${grpcPort}`,
};
const card = makeCard(ready, args);
const tasks = new InMemoryTaskStore();
const extended = args['ext-card'] ? async () => makeExtended(card) : undefined;
const requestHandler = new Handler(
  card,
  tasks,
  new Executor(),
  undefined,
  undefined,
  undefined,
  extended,
);

const served = { requestHandler, userBuilder: UserBuilder.noAuthentication };
app.use('/.well-known/agent-card.json', agentCardHandler({ agentCardProvider: requestHandler }));
app.use('/a2a/jsonrpc', jsonRpcHandler(served));
app.use('/a2a/rest', restHandler(served));
grpcServer.addService(
  A2AService,
  grpcService({ requestHandler, userBuilder: GrpcUserBuilder.noAuthentication }),
);

process.stdout.write(`${JSON.stringify(ready)}\n`);
