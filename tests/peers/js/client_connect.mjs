/**
 * Calls an agent with connect-es 2.2, over gRPC, Connect or gRPC-Web, and prints one JSON document
 * of what it saw.
 *
 * Each step is `{"ok": true, "value": …}` or `{"ok": false, "error": "ConnectError", "code": …,
 * "message": …, "reason": …}`, where the code is Connect's name of it and the reason is that of the
 * `google.rpc.ErrorInfo` in its details. Values are ProtoJSON. There is no generated code: the
 * service is read from a descriptor set. The step `card` is left out, for only the extended card
 * has an operation.
 */

import { readFileSync } from 'node:fs';
import { parseArgs } from 'node:util';

import { createFileRegistry, fromBinary, fromJson, toJson } from '@bufbuild/protobuf';
import { BinaryReader } from '@bufbuild/protobuf/wire';
import { FileDescriptorSetSchema } from '@bufbuild/protobuf/wkt';
import { ConnectError, createClient } from '@connectrpc/connect';
import {
  createConnectTransport,
  createGrpcTransport,
  createGrpcWebTransport,
} from '@connectrpc/connect-node';
import { codeToString } from '@connectrpc/connect/protocol-connect';

import { check, converse, demand, PUSH_URL, Steps } from './client_steps.mjs';

const SERVICE = 'lf.a2a.v1.A2AService';
const ERROR_INFO = 'google.rpc.ErrorInfo';
const ERROR_INFO_REASON = 1;
const TRANSPORTS = {
  grpc: createGrpcTransport,
  connect: createConnectTransport,
  grpcweb: createGrpcWebTransport,
};

function details(error) {
  if (!(error instanceof ConnectError)) return {};
  const info = error.details.find((detail) => detail.type === ERROR_INFO);
  return {
    code: codeToString(error.code),
    message: error.rawMessage,
    reason: info && reasonOf(info.value),
  };
}

/** Returns the reason in the bytes of a `google.rpc.ErrorInfo`. */
function reasonOf(bytes) {
  const reader = new BinaryReader(bytes);
  while (reader.pos < reader.len) {
    const [field, wireType] = reader.tag();
    if (field === ERROR_INFO_REASON) return reader.string();
    reader.skip(wireType, field);
  }
  return undefined;
}

/** Returns the A2A service in `file`, a `google.protobuf.FileDescriptorSet` with all imports. */
function readService(file) {
  const registry = createFileRegistry(fromBinary(FileDescriptorSetSchema, readFileSync(file)));
  const service = registry.getService(SERVICE);
  if (!service) throw new Error(`${file} has no service ${SERVICE}`);
  return service;
}

function createTransport({ base, key, protocol, http, format }) {
  const addHeaders = (next) => (request) => {
    request.header.set('a2a-version', '1.0');
    if (key) request.header.set('authorization', `Bearer ${key}`);
    return next(request);
  };
  return TRANSPORTS[protocol]({
    baseUrl: base,
    // The gRPC transport has no choice and ignores this.
    httpVersion: http,
    useBinaryFormat: format === 'proto',
    interceptors: [addHeaders],
  });
}

/** Returns the agent that `converse` talks to; `tenant` goes into each request if it is not ''. */
function createAgent(service, transport, tenant) {
  const client = createClient(service, transport);
  const agent = {};
  for (const { localName, methodKind, input, output } of service.methods) {
    const call = (request, signal) =>
      client[localName](fromJson(input, tenant ? { ...request, tenant } : request), { signal });
    agent[localName] =
      methodKind === 'unary'
        ? async (request, signal) => toJson(output, await call(request, signal))
        : async function* (request, signal) {
            for await (const event of call(request, signal)) yield toJson(output, event);
          };
  }
  return agent;
}

const { values: args } = parseArgs({
  options: {
    base: { type: 'string' },
    key: { type: 'string', default: '' },
    agent: { type: 'string', default: '' },
    protocol: { type: 'string', default: 'grpc' },
    http: { type: 'string', default: '2' },
    format: { type: 'string', default: 'proto' },
    schema: { type: 'string' },
    'push-url': { type: 'string', default: PUSH_URL },
  },
});
demand(args, 'base', 'schema');
check('protocol', args.protocol, Object.keys(TRANSPORTS));
check('http', args.http, args.protocol === 'grpc' ? ['2'] : ['1.1', '2']);
check('format', args.format, ['proto', 'json']);

const steps = new Steps(details);
const agent = createAgent(readService(args.schema), createTransport(args), args.agent);
await converse(steps, agent, args['push-url']);
steps.print();
