"""moto's server, which speaks S3 and SQS, on loopback in a process of its own."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import time
from collections.abc import Generator
from contextlib import contextmanager
from typing import Any
from urllib.request import urlopen

__all__ = ["KEYS", "Moto", "moto_server"]

KEYS = {"S3_KEY": "AKIATESTING", "S3_SECRET": "canary-secret-4711"}
"""What a sensor's references lead to, and the AWS libraries find."""


class Moto:
    """The server at `url`, and clients for it that block."""

    def __init__(self, url: str) -> None:
        self.url = url

    def client(self, service: str) -> Any:
        """A botocore client."""
        from botocore.session import Session

        return Session().create_client(
            service,  # type: ignore[call-overload, unused-ignore]  # a name that is not known beforehand
            endpoint_url=self.url,
            region_name="us-east-1",
            aws_access_key_id=KEYS["S3_KEY"],
            aws_secret_access_key=KEYS["S3_SECRET"],
        )

    def bucket(self, name: str, *, versioned: bool = False) -> Any:
        """Make a bucket; returns the client."""
        s3 = self.client("s3")
        s3.create_bucket(Bucket=name)
        if versioned:
            s3.put_bucket_versioning(Bucket=name, VersioningConfiguration={"Status": "Enabled"})
        return s3

    def notify(self, bucket: str) -> str:
        """Make a queue that hears of what happens in the bucket; returns its URL."""
        sqs = self.client("sqs")
        url: str = sqs.create_queue(QueueName=f"{bucket}-queue")["QueueUrl"]
        arn = sqs.get_queue_attributes(QueueUrl=url, AttributeNames=["QueueArn"])["Attributes"]["QueueArn"]
        events = {"QueueArn": arn, "Events": ["s3:ObjectCreated:*", "s3:ObjectRemoved:*"]}
        notifications = {"QueueConfigurations": [events]}
        self.client("s3").put_bucket_notification_configuration(Bucket=bucket, NotificationConfiguration=notifications)
        return url

    def waiting(self, queue_url: str) -> tuple[int, int]:
        """How many messages wait, and how many are read and not deleted."""
        names = ["ApproximateNumberOfMessages", "ApproximateNumberOfMessagesNotVisible"]
        found = self.client("sqs").get_queue_attributes(QueueUrl=queue_url, AttributeNames=names)["Attributes"]
        return int(found[names[0]]), int(found[names[1]])


@contextmanager
def moto_server() -> Generator[Moto]:
    """It serves as long as the block lasts."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    process = subprocess.Popen(
        [sys.executable, "-m", "moto.server", "-H", "127.0.0.1", "-p", str(port)],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        env={**os.environ, "MOTO_ACCOUNT_ID": "123456789012"},
    )
    try:
        until = time.monotonic() + 60
        while True:
            try:
                with urlopen(f"http://127.0.0.1:{port}/moto-api/data.json", timeout=10) as answer:
                    json.load(answer)
                break
            except OSError:
                assert process.poll() is None, f"moto's server ended with {process.returncode}"
                assert time.monotonic() < until, "moto's server does not answer"
                time.sleep(0.05)
        yield Moto(f"http://127.0.0.1:{port}")
    finally:
        process.kill()
        process.wait(10)
