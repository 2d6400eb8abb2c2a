"""Which keys of a dynamic set a range `A..B` of a backfill means."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from tests.support.served import served_engine

from freshet import DynamicPartitions, Last, asset
from freshet.definitions.asset import Dep

tenants = DynamicPartitions("tenants")


def test_dynamic_keys_go_by_when_they_were_first_added(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    made, newest = list[str](), list[str]()

    @asset(partitions=tenants)
    def one(ctx: Any) -> str:
        made.append(ctx.partition.key)
        return str(ctx.partition.key)

    @asset(deps=[Dep(one, mapping=Last())])
    def last(one: str) -> None:
        newest.append(one)

    with served_engine(tmp_path, [one, last], capsys) as served:
        cli = served.cli

        def making(selection: str) -> list[str]:
            made.clear()
            assert cli("backfill", "one", "--partitions", selection, "--no-wait").status == 0
            served.settle()
            return made

        for key in ("zoe", "mia", "abe", "kim"):
            cli("partitions", "tenants", "add", key)
        assert making("mia..kim") == ["mia", "abe", "kim"]
        assert making("..mia") == ["zoe", "mia"]
        backward = cli("backfill", "one", "--partitions", "abe..zoe", "--no-wait")
        assert backward.status == 1
        assert "'zoe' comes before 'abe' by when they were added" in backward.err
        assert "write zoe..abe" in backward.err

        cli("partitions", "tenants", "delete", "mia")
        assert making("zoe..abe") == ["zoe", "abe"]
        cli("partitions", "tenants", "add", "mia")
        assert making("zoe..abe") == ["zoe", "mia", "abe"], "it has its old place"
        served.cli("materialize", "last")
        served.settle()
        assert newest == ["mia"], "and is the one added last"
