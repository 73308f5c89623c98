"""Mixed traffic for a service that runs already: one write to four questions.

``UMS_TOKEN=$(ums tokens create --tenant load) locust -f tests/load/locustfile.py --headless -u 20 -r 20 -t 2m --host http://127.0.0.1:8000``
"""

import os
import random

from locust import HttpUser, constant_throughput, task

WORDS = ("zebra", "quartz", "violin", "lagoon", "tea", "train", "garden", "letter")


class Agent(HttpUser):
    """An agent that remembers and asks, twice a second."""

    wait_time = constant_throughput(2)

    def on_start(self) -> None:
        self.client.headers["Authorization"] = f"Bearer {os.environ['UMS_TOKEN']}"

    @task(1)
    def remember(self) -> None:
        self.client.post("/memory/add", json={"text": " ".join(random.choices(WORDS, k=12)), "role": "user"})

    @task(3)
    def ask(self) -> None:
        self.client.post("/memory/search", json={"query": " ".join(random.choices(WORDS, k=4)), "k": 5})

    @task(1)
    def look(self) -> None:
        self.client.post("/v1/memories/scan", json={"limit": 20})
