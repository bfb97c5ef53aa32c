"""A test agent of Pydantic AI 1 with its own `to_a2a`, which is FastA2A 0.6: JSON-RPC, A2A 0.3."""

import asyncio
import logging
import warnings

from pydantic_ai import Agent, ModelMessage, ModelResponse, TextPart
from pydantic_ai.messages import UserPromptPart
from pydantic_ai.models.function import AgentInfo, FunctionModel

import agent_echo
import agent_process


def text_of(message: ModelMessage) -> str:
    return ''.join(part.content for part in message.parts if isinstance(part, UserPromptPart))


async def echo(messages: list[ModelMessage], _info: AgentInfo) -> ModelResponse:
    return ModelResponse(parts=[TextPart(await agent_echo.reply(text_of(messages[-1])))])


async def main() -> None:
    sock = agent_process.bind()
    ready = agent_echo.ready_line(agent_process.origin_of(sock))
    with warnings.catch_warnings():
        # Pydantic AI 2 has no `to_a2a`, and 1 says so.
        warnings.simplefilter('ignore')
        app = Agent(FunctionModel(echo), name='pydantic').to_a2a(url=ready['rpc'])
    await agent_process.serve(app, sock, ready)


if __name__ == '__main__':
    logging.basicConfig(level=logging.WARNING)
    asyncio.run(main())
