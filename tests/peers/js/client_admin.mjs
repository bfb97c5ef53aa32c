/**
 * Drives the admin API over Connect with the code that protoc-gen-es generated into the directory
 * of the first argument, and prints what it saw.
 */

import { pathToFileURL } from 'node:url';

import { ConnectError, createClient } from '@connectrpc/connect';
import { createConnectTransport } from '@connectrpc/connect-node';
import { codeToString } from '@connectrpc/connect/protocol-connect';

const [generated, baseUrl, key, agentUrl] = process.argv.slice(2);
const load = (file) => import(pathToFileURL(`${generated}/switchboard/v1/${file}`).href);
const { AgentService } = await load('agent_pb.js');
const { KeyService } = await load('key_pb.js');

const authorize = (next) => (request) => {
  request.header.set('authorization', `Bearer ${key}`);
  return next(request);
};
const transport = createConnectTransport({ baseUrl, httpVersion: '1.1', interceptors: [authorize] });
const agents = createClient(AgentService, transport);
const keys = createClient(KeyService, transport);

const { agent } = await agents.createAgent({ agent: { name: 'by-es', endpoints: [{ url: agentUrl }] } });
const made = await keys.createKey({ key: { alias: 'es', grants: { agents: [agent.id] } } });
const rotated = await keys.rotateKey({ id: made.key.id });
const listed = await agents.listAgents({ query: 'by-es' });
let refused = null;
try {
  await agents.createAgent({ agent: { name: 'by-es', endpoints: [{ url: agentUrl }] } });
} catch (error) {
  if (!(error instanceof ConnectError)) throw error;
  refused = codeToString(error.code);
}
console.log(
  JSON.stringify({
    name: agent.name,
    revision: agent.provenance.revision.toString(),
    secret: rotated.secret,
    isNew: rotated.secret !== made.secret,
    listed: listed.agents.map((found) => found.id),
    id: agent.id,
    refused,
  }),
);
