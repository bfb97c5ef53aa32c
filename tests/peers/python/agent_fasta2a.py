"""A test agent of Pydantic AI 2 behind FastA2A 2.1: JSON-RPC, A2A 1.0."""

import asyncio
import logging
from collections.abc import AsyncIterator

from fasta2a.pydantic_ai import agent_to_a2a
from pydantic_ai import Agent, ModelMessage
from pydantic_ai.messages import UserPromptPart
from pydantic_ai.models.function import AgentInfo, FunctionModel

import agent_echo
import agent_process


def text_of(message: ModelMessage) -> str:
    return ''.join(part.content for part in message.parts if isinstance(part, UserPromptPart))


async def echo(messages: list[ModelMessage], _info: AgentInfo) -> AsyncIterator[str]:
    async for word in agent_echo.words(text_of(messages[-1])):
        yield word


async def main() -> None:
    sock = agent_process.bind()
    ready = agent_echo.ready_line(agent_process.origin_of(sock))
    agent = Agent(FunctionModel(stream_function=echo), name='fasta2a')
    await agent_process.serve(agent_to_a2a(agent, url=ready['rpc']), sock, ready)


if __name__ == '__main__':
    logging.basicConfig(level=logging.WARNING)
    asyncio.run(main())
