"""Does what LiteLLM's documentation shows for a2a-sdk 0.3: list the agents, then invoke one.

Whoever follows that page with `SWITCHBOARD_URL` and `SWITCHBOARD_KEY` in place of LiteLLM's
address and key should notice no difference. Prints one JSON document of what was received.
"""

import asyncio
import json
import os
from uuid import uuid4

import httpx
from a2a.client import A2ACardResolver, A2AClient
from a2a.types import MessageSendParams, SendMessageRequest, SendStreamingMessageRequest

GATEWAY_URL = os.environ['SWITCHBOARD_URL']
KEY = os.environ['SWITCHBOARD_KEY']


async def connect(http: httpx.AsyncClient, agent: str) -> A2AClient:
    """Resolves the card of `agent`, which is an id or a name, and returns a client for it."""
    resolver = A2ACardResolver(httpx_client=http, base_url=f'{GATEWAY_URL}/a2a/{agent}')
    return A2AClient(httpx_client=http, agent_card=await resolver.get_agent_card())


def params(text: str) -> MessageSendParams:
    return MessageSendParams(
        message={
            'role': 'user',
            'parts': [{'kind': 'text', 'text': text}],
            'messageId': uuid4().hex,
        }
    )


async def main() -> None:
    headers = {'Authorization': f'Bearer {KEY}'}
    async with httpx.AsyncClient(headers=headers, timeout=60.0) as http:
        response = await http.get(f'{GATEWAY_URL}/v1/agents')
        response.raise_for_status()
        agents = response.json()
        first = agents[0]

        client = await connect(http, first['agent_id'])
        request = SendMessageRequest(id=str(uuid4()), params=params('Hello, what can you do?'))
        answer = await client.send_message(request)

        client = await connect(http, first['agent_name'])
        request = SendStreamingMessageRequest(
            id=str(uuid4()), params=params('Tell me a long story')
        )
        chunks = [chunk async for chunk in client.send_message_streaming(request)]

    received = {
        'agents': agents,
        'send': answer.model_dump(mode='json', exclude_none=True),
        'stream': [chunk.model_dump(mode='json', exclude_none=True) for chunk in chunks],
    }
    print(json.dumps(received, ensure_ascii=False))


if __name__ == '__main__':
    asyncio.run(main())
