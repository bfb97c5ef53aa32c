/**
 * Sends one file part with the client of @a2a-js/sdk 1.3 and prints the answer as JSON.
 *
 * It is `{"ok": true, "value": …}`, with the answer as ProtoJSON, or `{"ok": false, "error":
 * "TypeName", "message": …}`. The agent's behaviour `file-` answers with what it received.
 */

import { randomUUID } from 'node:crypto';
import { parseArgs } from 'node:util';

import { SendMessageRequest, SendMessageResponse } from '@a2a-js/sdk';
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

async function send({ base, key, binding, legacy, version }) {
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
  const part = { raw: FILE.toString('base64'), filename: 'input.bin', mediaType: 'image/x-test' };
  const message = { messageId: `file-${randomUUID()}`, role: 'ROLE_USER', parts: [part] };
  const value = await client.sendMessage(SendMessageRequest.fromJSON({ message }), {
    signal: AbortSignal.timeout(15_000),
    // Fetch has the key already; gRPC takes it from here.
    ...(key && binding === 'GRPC' && { serviceParameters: { authorization: `Bearer ${key}` } }),
  });
  // The SDK returns what was in the answer; the document has the answer.
  const $case = 'messageId' in value ? 'message' : 'task';
  return SendMessageResponse.toJSON({ payload: { $case, value } });
}

const { values: args } = parseArgs({
  options: {
    base: { type: 'string' },
    key: { type: 'string', default: '' },
    binding: { type: 'string', default: 'JSONRPC' },
    legacy: { type: 'boolean', default: false },
    version: { type: 'string' },
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
