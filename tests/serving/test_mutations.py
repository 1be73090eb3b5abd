"""Images that something has gnawed at: an answer each time, and a good one to the next good request."""

from __future__ import annotations

import asyncio

import numpy as np

from tests.serving.made import check_error, client, image_bytes, service


def gnaw(content: bytes, random: np.random.Generator) -> bytes:
    """One of five kinds of damage at random places."""
    damaged = bytearray(content)
    kind, place = random.integers(5), int(random.integers(len(content)))
    length = int(random.integers(1, 40))
    if kind == 0:
        for spot in random.integers(len(content), size=length):
            damaged[spot] = random.integers(256)
    elif kind == 1:
        del damaged[place:]
    elif kind == 2:
        del damaged[place : place + length]
    elif kind == 3:
        damaged[place:place] = random.bytes(length)
    else:
        damaged[place : place + length] = damaged[place : place + length] * 3
    return bytes(damaged)


def test_500_mutations_of_a_jpeg_and_a_png():
    originals = [image_bytes("JPEG", 16, 24), image_bytes("PNG", 16, 24)]
    random = np.random.default_rng(7)
    seen: dict[int, int] = {}

    async def run():
        # A header may claim any size: the limit keeps the test quick, as it keeps the service.
        async with client(service(max_pixels=2**16)) as ask:
            for number in range(500):
                original = originals[number % 2]
                answer = await ask.post("/v1/translate", content=gnaw(original, random))
                if answer.status_code != 200:
                    assert answer.status_code in (400, 413), answer.text
                    check_error(answer, answer.status_code)
                seen[answer.status_code] = seen.get(answer.status_code, 0) + 1
                assert (await ask.post("/v1/translate", content=original)).status_code == 200

    asyncio.run(run())
    assert seen[400] > 100
