/**
 * Sends one message with the client of @a2a-js/sdk 1.3 and prints what comes of it as JSON.
 *
 * It is `{"ok": true, "value": […]}`, with the events or the one answer as ProtoJSON, or `{"ok":
 * false, "error": "TypeName", "message": …}`. The message is a text, or else a file of a few bytes
 * that are no UTF-8: the agents' behaviour `file-` answers with what it received.
 */

import { randomUUID } from 'node:crypto';
import { parseArgs } from 'node:util';

import { SendMessageRequest, SendMessageResponse, StreamResponse } from '@a2a-js/sdk';
import {
  ClientFactory,
  createAuthenticatingFetchWithRetry,
  DefaultAgentCardResolver,
  JsonRpcTransportFactory,
  RestTransportFactory,
} from '@a2a-js/sdk/client';
import { GrpcTransportFactory } from '@a2a-js/sdk/client/grpc';

import { check, demand } from './client_steps.mjs';

// They are no UTF-8, and their base64 has both of the characters `+` and `/`.
const FILE = Buffer.from('fbefbeff0080c1fe01f5fa0a', 'hex');

const TRANSPORTS = {
  JSONRPC: JsonRpcTransportFactory,
  'HTTP+JSON': RestTransportFactory,
  GRPC: GrpcTransportFactory,
};

async function send({ base, key, binding, legacy, version, text, stream }) {
  const fetchImpl = createAuthenticatingFetchWithRetry(fetch, {
    headers: async () => (key ? { Authorization: `Bearer ${key}` } : {}),
    shouldRetryWithHeaders: async () => undefined,
  });
  const options = { fetchImpl, legacyCompat: { enabled: legacy } };
  const address = `${base.replace(/\/+$/, '')}/.well-known/agent-card.json`;
  const card = await new DefaultAgentCardResolver(options).resolve(address, '');
  if (version) {
    card.supportedInterfaces = card.supportedInterfaces?.filter((entry) =>
      entry.protocolVersion.startsWith(version),
    );
  }
  const factory = new ClientFactory({ transports: [new TRANSPORTS[binding](options)] });
  const client = await factory.createFromAgentCard(card);
  const file = { raw: FILE.toString('base64'), filename: 'input.bin', mediaType: 'image/x-test' };
  const message = {
    messageId: `${text ? 'text' : 'file'}-${randomUUID()}`,
    role: 'ROLE_USER',
    parts: [text ? { text } : file],
  };
  const request = SendMessageRequest.fromJSON({ message });
  const callOptions = {
    signal: AbortSignal.timeout(15_000),
    // Fetch has the key already; gRPC takes it from here.
    ...(key && binding === 'GRPC' && { serviceParameters: { authorization: `Bearer ${key}` } }),
  };
  if (stream) {
    const events = [];
    for await (const event of client.sendMessageStream(request, callOptions)) {
      events.push(StreamResponse.toJSON(event));
    }
    return events;
  }
  const value = await client.sendMessage(request, callOptions);
  // The SDK returns what was in the answer; the document has the answer.
  const $case = 'messageId' in value ? 'message' : 'task';
  return [SendMessageResponse.toJSON({ payload: { $case, value } })];
}

const { values: args } = parseArgs({
  options: {
    base: { type: 'string' },
    key: { type: 'string', default: '' },
    binding: { type: 'string', default: 'JSONRPC' },
    legacy: { type: 'boolean', default: false },
    version: { type: 'string' },
    text: { type: 'string' },
    stream: { type: 'boolean', default: false },
  },
});
demand(args, 'base');
check('binding', args.binding, Object.keys(TRANSPORTS));

let outcome;
try {
  outcome = { ok: true, value: await send(args) };
} catch (error) {
  outcome = { ok: false, error: error.name, message: error.message };
}
process.stdout.write(`${JSON.stringify(outcome)}\n`, () => process.exit(0));
