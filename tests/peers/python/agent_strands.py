"""A test agent of Strands 1.62 with its `A2AServer`: JSON-RPC, A2A 0.3."""

import argparse
import asyncio
import logging
from collections.abc import AsyncIterator
from typing import Any

from strands import Agent
from strands.models import Model
from strands.multiagent.a2a import A2AServer
from strands.types.content import Messages
from strands.types.streaming import StreamEvent

import agent_echo
import agent_process


class EchoModel(Model):
    def update_config(self, **model_config: Any) -> None:
        pass

    def get_config(self) -> dict:
        return {}

    def structured_output(self, *args: Any, **kwargs: Any) -> Any:
        raise NotImplementedError

    async def stream(
        self, messages: Messages, *args: Any, **kwargs: Any
    ) -> AsyncIterator[StreamEvent]:
        text = ''.join(block.get('text', '') for block in messages[-1]['content'])
        yield {'messageStart': {'role': 'assistant'}}
        yield {'contentBlockStart': {'start': {}}}
        async for word in agent_echo.words(text):
            yield {'contentBlockDelta': {'delta': {'text': word}}}
        yield {'contentBlockStop': {}}
        yield {'messageStop': {'stopReason': 'end_turn'}}


def make_agent(_context_id: str) -> Agent:
    return Agent(
        EchoModel(), name='strands', description='Says it again.', callback_handler=None, tools=[]
    )


async def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument(
        '--compliant', action='store_true', help='stream artifacts, not the default messages'
    )
    args = parser.parse_args()

    sock = agent_process.bind()
    ready = agent_echo.ready_line(agent_process.origin_of(sock))
    server = A2AServer(
        agent_factory=make_agent,
        http_url=ready['rpc'],
        skills=[],
        enable_a2a_compliant_streaming=args.compliant,
    )
    await agent_process.serve(server.to_starlette_app(), sock, ready)


if __name__ == '__main__':
    logging.basicConfig(level=logging.WARNING)
    asyncio.run(main())
