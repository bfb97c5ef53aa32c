"""The graph that `agent_langgraph.py` serves: one node, and a model that says the text again."""

from collections.abc import AsyncIterator
from typing import Any

from langchain_core.language_models import BaseChatModel
from langchain_core.messages import AIMessage, AIMessageChunk, BaseMessage
from langchain_core.outputs import ChatGeneration, ChatGenerationChunk, ChatResult
from langgraph.graph import END, START, MessagesState, StateGraph
from langgraph.types import interrupt

import agent_echo


class EchoModel(BaseChatModel):
    @property
    def _llm_type(self) -> str:
        return 'echo'

    def _generate(self, *args: Any, **kwargs: Any) -> ChatResult:
        raise NotImplementedError('the graph is asynchronous')

    async def _agenerate(
        self, messages: list[BaseMessage], *args: Any, **kwargs: Any
    ) -> ChatResult:
        message = AIMessage(content=await agent_echo.reply(messages[-1].text))
        return ChatResult(generations=[ChatGeneration(message=message)])

    async def _astream(
        self, messages: list[BaseMessage], *args: Any, **kwargs: Any
    ) -> AsyncIterator[ChatGenerationChunk]:
        async for word in agent_echo.words(messages[-1].text):
            yield ChatGenerationChunk(message=AIMessageChunk(content=word))


async def answer(state: MessagesState) -> dict:
    if 'ask' in state['messages'][-1].text.split():
        chosen = interrupt({'question': 'which one?'})
        return {'messages': [AIMessage(content=f'you chose: {chosen}')]}
    return {'messages': [await EchoModel().ainvoke(state['messages'])]}


graph = (
    StateGraph(MessagesState)
    .add_node('answer', answer)
    .add_edge(START, 'answer')
    .add_edge('answer', END)
    .compile()
)
