/**
 * Calls an agent with the client of @a2a-js/sdk 1.3 and prints one JSON document of what it saw.
 *
 * Each step is `{"ok": true, "value": …}` or `{"ok": false, "error": "TypeName", "message": …}`,
 * the latter with the JSON-RPC `code` where the error has one of the A2A types. Values are
 * ProtoJSON, as the SDK's own types print it.
 */

import { parseArgs } from 'node:util';

import {
  AgentCard,
  CancelTaskRequest,
  DeleteTaskPushNotificationConfigRequest,
  GetTaskPushNotificationConfigRequest,
  GetTaskRequest,
  ListTaskPushNotificationConfigsRequest,
  ListTaskPushNotificationConfigsResponse,
  ListTasksRequest,
  ListTasksResponse,
  SendMessageRequest,
  SendMessageResponse,
  StreamResponse,
  SubscribeToTaskRequest,
  Task,
  TaskPushNotificationConfig,
} from '@a2a-js/sdk';
import {
  ClientFactory,
  createAuthenticatingFetchWithRetry,
  DefaultAgentCardResolver,
  JsonRpcTransportFactory,
  RestTransportFactory,
} from '@a2a-js/sdk/client';
import { GrpcTransportFactory } from '@a2a-js/sdk/client/grpc';
import { A2AError, isJsonRpcError, toJsonRpcError } from '@a2a-js/sdk/errors';

import { check, converse, demand, need, PUSH_URL, Steps } from './client_steps.mjs';

const TRANSPORTS = {
  JSONRPC: JsonRpcTransportFactory,
  'HTTP+JSON': RestTransportFactory,
  GRPC: GrpcTransportFactory,
};

/**
 * Returns the code, the status and the data of an error, as far as it has them.
 *
 * The SDK has a type for each A2A error and falls back to `A2AError`, which has no code of its own
 * unless it came over JSON-RPC. The status is that of HTTP or of gRPC. The error that ends a stream
 * of JSON-RPC is the cause of another one.
 */
function details(error) {
  if (!(error instanceof A2AError)) {
    if (!error.cause) return {};
    return { ...details(error.cause), message: `${error.message} (${error.cause})` };
  }
  const coded = isJsonRpcError(error) || error.name !== 'A2AError';
  return {
    code: coded ? toJsonRpcError(error).code : undefined,
    status: error.statusCode ?? error.status,
    data: error.data,
  };
}

/** Sends the key with each gRPC call. A call credential would not do: it requires TLS. */
class KeyOnCall {
  constructor(key) {
    this.key = key;
  }

  async before(args) {
    const authorization = `Bearer ${this.key}`;
    const serviceParameters = { ...args.options?.serviceParameters, authorization };
    args.options = { ...args.options, serviceParameters };
  }

  async after() {}
}

/** Resolves cards and keeps the last one, with the interfaces of one version if one is given. */
class Resolver {
  constructor(options, version) {
    this.resolver = new DefaultAgentCardResolver(options);
    this.version = version;
  }

  async resolve(url, path) {
    this.card = await this.resolver.resolve(url, path);
    if (this.version) {
      this.card.supportedInterfaces = this.card.supportedInterfaces?.filter(
        (entry) => entry.protocolVersion === this.version,
      );
    }
    return this.card;
  }
}

/** The agent that `converse` talks to, behind one binding. */
class Agent {
  #args;
  #client;

  constructor(args) {
    this.#args = args;
  }

  /**
   * Resolves the card and returns it as ProtoJSON.
   *
   * The SDK leaves a card with security schemes of 0.3 as it is, in which case the schemes are
   * empty here.
   */
  async connect() {
    const { base, key, binding, legacy, version } = this.#args;
    const fetchImpl = createAuthenticatingFetchWithRetry(fetch, {
      headers: async () => (key ? { Authorization: `Bearer ${key}` } : {}),
      shouldRetryWithHeaders: async () => undefined,
    });
    const options = { fetchImpl, legacyCompat: { enabled: legacy } };
    const cardResolver = new Resolver(options, version);
    const factory = new ClientFactory({
      transports: [new TRANSPORTS[binding](options)],
      clientConfig: { interceptors: key && binding === 'GRPC' ? [new KeyOnCall(key)] : [] },
      cardResolver,
    });
    // The SDK would look beside a base without a trailing slash, so it gets the whole address.
    const address = `${base.replace(/\/+$/, '')}/.well-known/agent-card.json`;
    this.#client = await factory.createFromUrl(address, '');
    return AgentCard.toJSON(cardResolver.card);
  }

  get client() {
    return need(this.#client, 'card');
  }

  async sendMessage(request, signal) {
    const value = await this.client.sendMessage(SendMessageRequest.fromJSON(request), { signal });
    // The SDK returns what was in the answer; the document has the answer.
    const $case = 'messageId' in value ? 'message' : 'task';
    return SendMessageResponse.toJSON({ payload: { $case, value } });
  }

  async *sendStreamingMessage(request, signal) {
    const wanted = SendMessageRequest.fromJSON(request);
    for await (const event of this.client.sendMessageStream(wanted, { signal })) {
      yield StreamResponse.toJSON(event);
    }
  }

  async getTask(request, signal) {
    return Task.toJSON(await this.client.getTask(GetTaskRequest.fromJSON(request), { signal }));
  }

  async listTasks(request, signal) {
    const wanted = ListTasksRequest.fromJSON(request);
    return ListTasksResponse.toJSON(await this.client.listTasks(wanted, { signal }));
  }

  async cancelTask(request, signal) {
    const wanted = CancelTaskRequest.fromJSON(request);
    return Task.toJSON(await this.client.cancelTask(wanted, { signal }));
  }

  async *subscribeToTask(request, signal) {
    const wanted = SubscribeToTaskRequest.fromJSON(request);
    for await (const event of this.client.resubscribeTask(wanted, { signal })) {
      yield StreamResponse.toJSON(event);
    }
  }

  async createTaskPushNotificationConfig(request, signal) {
    const wanted = TaskPushNotificationConfig.fromJSON(request);
    const config = await this.client.createTaskPushNotificationConfig(wanted, { signal });
    return TaskPushNotificationConfig.toJSON(config);
  }

  async getTaskPushNotificationConfig(request, signal) {
    const wanted = GetTaskPushNotificationConfigRequest.fromJSON(request);
    const config = await this.client.getTaskPushNotificationConfig(wanted, { signal });
    return TaskPushNotificationConfig.toJSON(config);
  }

  async listTaskPushNotificationConfigs(request, signal) {
    const wanted = ListTaskPushNotificationConfigsRequest.fromJSON(request);
    const configs = await this.client.listTaskPushNotificationConfig(wanted, { signal });
    return ListTaskPushNotificationConfigsResponse.toJSON(configs);
  }

  async deleteTaskPushNotificationConfig(request, signal) {
    const wanted = DeleteTaskPushNotificationConfigRequest.fromJSON(request);
    await this.client.deleteTaskPushNotificationConfig(wanted, { signal });
  }

  /** Like the Python client, the SDK asks only if the card announces an extended one. */
  async getExtendedAgentCard(_request, signal) {
    return AgentCard.toJSON(await this.client.getAgentCard({ signal }));
  }
}

const { values: args } = parseArgs({
  options: {
    base: { type: 'string' },
    key: { type: 'string', default: '' },
    binding: { type: 'string', default: 'JSONRPC' },
    legacy: { type: 'boolean', default: false },
    version: { type: 'string' },
    'push-url': { type: 'string', default: PUSH_URL },
  },
});
demand(args, 'base');
check('binding', args.binding, Object.keys(TRANSPORTS));

const steps = new Steps(details);
const agent = new Agent(args);
await steps.run('card', () => agent.connect());
await converse(steps, agent, args['push-url']);
steps.print();
