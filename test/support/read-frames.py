"""Follows a task with the standard limits of `websockets`, and prints the bytes of each frame. Arguments: URL, task id, headers as JSON."""

import asyncio
import json
import sys

from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosed


async def main(url, task_id, headers):
    async with connect(url, additional_headers=headers) as socket:
        await socket.send(json.dumps({"action": "subscribe", "taskId": task_id}))
        try:
            while True:
                print(len((await socket.recv()).encode()))
        except ConnectionClosed:
            print("closed", socket.close_code)


asyncio.run(main(sys.argv[1], sys.argv[2], json.loads(sys.argv[3])))
