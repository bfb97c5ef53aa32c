"""Drives the admin API over gRPC with code that grpcio-tools generates from proto/, and prints what it saw."""

import importlib
import json
import os
import pathlib
import sys
import tempfile

import grpc
import grpc_tools
from google.protobuf.json_format import MessageToDict
from google.protobuf import field_mask_pb2
from grpc_tools import protoc

TARGET = os.environ['SWITCHBOARD_TARGET']
KEY = os.environ['SWITCHBOARD_KEY']
AGENT_URL = os.environ['AGENT_URL']


def generated(proto: str):
    """The modules of the schema below `proto`, generated into a directory of their own."""
    out = tempfile.mkdtemp()
    files = [str(path) for path in pathlib.Path(proto).rglob('*.proto')]
    included = pathlib.Path(grpc_tools.__file__).parent / '_proto'
    options = [f'-I{proto}', f'-I{included}', f'--python_out={out}', f'--grpc_python_out={out}']
    if protoc.main(['protoc', *options, *files]) != 0:
        sys.exit('protoc failed')
    sys.path.insert(0, out)
    name = 'switchboard.v1.'
    return {part: importlib.import_module(name + part) for part in
            ('agent_pb2', 'agent_pb2_grpc', 'key_pb2', 'key_pb2_grpc', 'team_pb2', 'team_pb2_grpc')}


def main() -> None:
    api = generated(sys.argv[1])
    metadata = [('authorization', f'Bearer {KEY}')]
    with grpc.insecure_channel(TARGET) as channel:
        agents = api['agent_pb2_grpc'].AgentServiceStub(channel)
        keys = api['key_pb2_grpc'].KeyServiceStub(channel)
        teams = api['team_pb2_grpc'].TeamServiceStub(channel)
        agent_pb2, key_pb2, team_pb2 = api['agent_pb2'], api['key_pb2'], api['team_pb2']
        endpoint = agent_pb2.Endpoint(url=AGENT_URL, headers={'x-token': 'hidden'})
        agent = agent_pb2.Agent(name='by-python', endpoints=[endpoint], tags=['python'])
        made = agents.CreateAgent(agent_pb2.CreateAgentRequest(agent=agent), metadata=metadata).agent
        patch = agent_pb2.Agent(id=made.id, description='changed', provenance={'revision': made.provenance.revision})
        mask = field_mask_pb2.FieldMask(paths=['description'])
        update = agent_pb2.UpdateAgentRequest(agent=patch, update_mask=mask)
        changed = agents.UpdateAgent(update, metadata=metadata).agent
        teams.CreateTeam(team_pb2.CreateTeamRequest(team={'id': 'snakes', 'grants': {'tags': ['python']}}), metadata=metadata)
        key = {'alias': 'snake', 'team_id': 'snakes', 'grants': {'agents': ['by-python']}}
        secret = keys.CreateKey(key_pb2.CreateKeyRequest(key=key), metadata=metadata)
        explained = keys.ExplainAccess(key_pb2.ExplainAccessRequest(key='snake', agent='by-python'), metadata=metadata)
        try:
            agents.UpdateAgent(update, metadata=metadata)
            refused = None
        except grpc.RpcError as error:
            refused = error.code().name
        listed = agents.ListAgents(agent_pb2.ListAgentsRequest(tag='python'), metadata=metadata)
        print(json.dumps({
            'made': MessageToDict(made),
            'changed': MessageToDict(changed),
            'secret': secret.secret,
            'explained': MessageToDict(explained),
            'refused': refused,
            'listed': [agent.name for agent in listed.agents],
        }))


if __name__ == '__main__':
    main()
