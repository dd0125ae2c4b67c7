"""Applications with all its settings in code, for commands that look at one."""

from dataclasses import replace

from flask import Flask
from starlette.applications import Starlette
from starlette.responses import PlainTextResponse
from starlette.routing import Mount, Route
from werkzeug.middleware.dispatcher import DispatcherMiddleware

from lumin_middleware import LuminConfig, LuminMiddleware, wsgi
from lumin_middleware.stores import AsyncRedisStore, MemoryStore

config = LuminConfig(
    client_id="coded",
    client_secret="y" * 20,
    redirect_uri="https://coded.example.com/auth/callback",
    secret_key=bytes(range(100, 140))[::-3] + b"k8#Lq2!mZx0@Vw7$" + bytes([3, 99, 200, 47, 251, 18, 77]),
    store="memory://",
    public=["/healthz"],
)


async def page(request):
    return PlainTextResponse("")


app = Starlette(routes=[Route("/", page), Route("/healthz", page)])
app.add_middleware(LuminMiddleware, config=config)
wrapped = LuminMiddleware(Starlette(routes=[Route("/healthz", page)]), config)
bare = Starlette()
in_memory = LuminMiddleware(Starlette(), replace(config, store=MemoryStore()))
on_a_loop = LuminMiddleware(Starlette(), replace(config, store=AsyncRedisStore("redis://127.0.0.1:1")))
below = replace(config, redirect_uri="https://coded.example.com/shop/auth/callback")
mounting = Starlette(routes=[Mount("/shop", LuminMiddleware(Starlette(), below)), Route("/healthz", page)])
dispatching = DispatcherMiddleware(Flask("outer"), {"/shop": wsgi.LuminMiddleware(Flask("inner"), below)})
