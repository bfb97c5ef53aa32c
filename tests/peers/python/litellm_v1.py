"""Does what LiteLLM's documentation shows for a2a-sdk 1.x: list the agents, then invoke one.

Whoever follows that page with `SWITCHBOARD_URL` and `SWITCHBOARD_KEY` in place of LiteLLM's
address and key should notice no difference. Prints one JSON document of what was received.
"""

import asyncio
import json
import os
from uuid import uuid4

import httpx
from a2a.client import A2ACardResolver, ClientConfig, ClientFactory
from a2a.types import Message, Part, Role, SendMessageRequest
from a2a.utils.constants import TransportProtocol
from google.protobuf.json_format import MessageToDict

GATEWAY_URL = os.environ['SWITCHBOARD_URL']
KEY = os.environ['SWITCHBOARD_KEY']


async def invoke(http: httpx.AsyncClient, agent: str, streaming: bool, text: str) -> list[dict]:
    """Resolves the card of `agent`, which is an id or a name, and returns the events of a send."""
    resolver = A2ACardResolver(httpx_client=http, base_url=f'{GATEWAY_URL}/a2a/{agent}')
    card = await resolver.get_agent_card()
    config = ClientConfig(
        httpx_client=http,
        streaming=streaming,
        supported_protocol_bindings=[TransportProtocol.JSONRPC, TransportProtocol.HTTP_JSON],
    )
    client = ClientFactory(config).create(card)
    message = Message(message_id=uuid4().hex, role=Role.ROLE_USER, parts=[Part(text=text)])
    request = SendMessageRequest(message=message)
    return [MessageToDict(event) async for event in client.send_message(request)]


async def main() -> None:
    headers = {'Authorization': f'Bearer {KEY}'}
    async with httpx.AsyncClient(headers=headers, timeout=60.0) as http:
        response = await http.get(f'{GATEWAY_URL}/v1/agents')
        response.raise_for_status()
        agents = response.json()
        first = agents[0]
        received = {
            'agents': agents,
            'send': await invoke(http, first['agent_id'], False, 'Hello, what can you do?'),
            'stream': await invoke(http, first['agent_name'], True, 'Tell me a long story'),
        }
    print(json.dumps(received, ensure_ascii=False))


if __name__ == '__main__':
    asyncio.run(main())
