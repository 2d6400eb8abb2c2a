"""From what the plugins declared to what the daemon is told: plain data, validated as a whole."""

from __future__ import annotations

import dataclasses
import traceback
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from itertools import chain
from typing import Any

import orjson

from freshet.definitions.asset import Asset
from freshet.definitions.check import Check
from freshet.definitions.graph import Definitions, validate
from freshet.definitions.io_manager import IOManager, ValueStore
from freshet.definitions.job import Job
from freshet.definitions.partitions import PartitionsSpec
from freshet.definitions.resource import Resource
from freshet.definitions.schedule import Schedule
from freshet.definitions.sensor import Sensor
from freshet.definitions.source import Source
from freshet.definitions.wire import packed
from freshet.errors import DefinitionError, FreshetError
from freshet.host.messages import ProblemData
from freshet.host.parameters import Parameters
from freshet.host.resources import bind, resource_problems, sensor_problems
from freshet.host.scheduled import as_sensor
from freshet.io.managers import BUILT_IN, Managers

__all__ = ["Catalog", "catalog"]


@dataclass
class Catalog:
    """The live objects by name, and their description. With `problems`, it must not be put in force. `text`: the
    definitions as JSON, None where a setting is not plain data."""

    definitions: Definitions
    assets: dict[str, Asset] = field(default_factory=dict[str, Asset])
    jobs: dict[str, Job] = field(default_factory=dict[str, Job])
    sensors: dict[str, Sensor] = field(default_factory=dict[str, Sensor])
    resources: dict[str, Resource] = field(default_factory=dict[str, Resource])
    checks: dict[str, Check] = field(default_factory=dict[str, Check])
    parameters: dict[str, Parameters] = field(default_factory=dict[str, Parameters])
    managers: Managers = BUILT_IN
    problems: list[ProblemData] = field(default_factory=list[ProblemData])
    text: bytes | None = None

    def check(self, job: str, params: Mapping[str, Any]) -> None:
        """Raise `InvalidParameter` where a job's annotations do not allow these parameters, of which some may be
        missing yet; of no job, nothing."""
        if job in self.parameters:
            self.parameters[job].check(params, partly=True)

    def as_json(self) -> orjson.Fragment:
        """The definitions as JSON of `definitions.wire`; without their contents where a setting is not plain data (a
        problem says so)."""
        return orjson.Fragment(self.text or orjson.dumps(packed(Definitions(version=self.definitions.version))))


def catalog(
    found: Iterable[object], *, version: str, described: Callable[[Catalog], None] = lambda made: None
) -> Catalog:
    """Describe the collected definitions. Never raises for what a user wrote: see `problems`. `described` gets what
    there is to tell before it is validated as a whole; it must not raise for what a user wrote."""
    objects = list(found)
    try:
        made = _described(objects, version)
    except Exception as error:  # a definition may hold anything, and so may what describing it raises
        return _refused(objects, version, error)
    if made.text is not None:
        described(made)
    try:
        _complete(made, objects)
    except Exception as error:  # as above
        return _refused(objects, version, error)
    return made


def _refused(objects: list[object], version: str, error: Exception) -> Catalog:
    made = Catalog(Definitions(version=version))
    made.problems += [each for one in objects if (each := _alone(one)) is not None]
    if not made.problems:
        made.problems.append(_undescribed("the definitions", None, error))
    return made


def _alone(one: object) -> ProblemData | None:
    """What is wrong with a definition that cannot be described by itself."""
    try:
        _complete(_described([one], ""), [one])
    except Exception as error:  # as above
        return _undescribed(repr(one), getattr(getattr(one, "spec", None), "source", None), error)
    return None


def _undescribed(what: str, source: Source | None, error: Exception) -> ProblemData:
    said = f"{what} cannot be described: {type(error).__name__}: {error}"
    shown = "".join(traceback.format_exception(error))
    return {**_at(source, said, "see the reference of its decorator for what it takes"), "traceback": shown}


def _described(objects: list[object], version: str) -> Catalog:
    assets = [one for one in objects if isinstance(one, Asset)]
    jobs = [one for one in objects if isinstance(one, Job)]
    sensors = [one for one in objects if isinstance(one, Sensor)]
    schedules = [one for one in objects if isinstance(one, Schedule)]
    checks = [one for one in objects if isinstance(one, Check)]
    resources = [one for one in objects if isinstance(one, Resource)]
    made = Catalog(Definitions(version=version), resources={one.spec.name: one for one in resources})
    bind([*assets, *checks], jobs, frozenset(made.resources))
    for one in jobs:
        _describe_job(made, one)
    made.definitions = Definitions(
        assets=tuple(one.spec for one in assets),
        jobs=tuple(one.spec for one in jobs),
        sensors=tuple(one.spec for one in sensors),
        partitions=_sets(assets, sensors),
        version=version,
        schedules=tuple(one.spec for one in schedules),
        checks=tuple(one.spec for one in checks),
    )
    try:
        made.text = orjson.dumps(packed(made.definitions))
    except TypeError:
        told = made.definitions
        specs = (told.assets, told.jobs, told.sensors, told.schedules, told.checks)
        for each in chain.from_iterable(specs):
            _check_plain(made, each)
    made.assets = {one.spec.name: one for one in assets}
    made.jobs = {one.spec.name: one for one in jobs}
    made.checks = {one.spec.step: one for one in checks}
    made.sensors = {one.spec.name: one for one in sensors}
    made.sensors |= {one.name: as_sensor(one) for one in schedules if one.spec.body}
    return made


def _complete(made: Catalog, objects: list[object]) -> None:
    """The I/O managers, and what is wrong with the whole."""
    _manage(made, objects)
    for spec in made.definitions.assets:
        if spec.io is not None and (unknown := made.managers.problem(spec.io)) is not None:
            made.problems.append(_at(spec.source, f"asset {spec.name}: {unknown[0]}", unknown[1]))
    resources = [one for one in objects if isinstance(one, Resource)]
    made.problems += [_problem(error) for error in resource_problems(resources, made.assets)]
    sensors = [one for one in objects if isinstance(one, Sensor)]
    made.problems += [_problem(error) for error in sensor_problems(sensors, made.resources)]
    made.problems += [_problem(error) for error in validate(made.definitions)]
    schedules = [one for one in objects if isinstance(one, Schedule)]
    made.problems += [wrong for each in schedules if (wrong := _scheduled(made, each)) is not None]
    if made.checks and not made.problems:
        made.definitions.stepped("")  # worked out here, and not in each worker


def _manage(made: Catalog, objects: list[object]) -> None:
    """The I/O managers and stores that plugins declare, each name once."""
    kinds = [one for one in objects if isinstance(one, type) and issubclass(one, IOManager)]
    stores = [one for one in objects if isinstance(one, ValueStore)]
    if not kinds and not stores:
        return
    own, taken = list[IOManager](), dict.fromkeys(BUILT_IN.names, "is built in")
    declared: list[type[IOManager] | ValueStore] = [*kinds, *stores]
    for one in declared:
        if one.name in taken:
            said = f"the name {one.name!r} of {_called(one)} {taken[one.name]}"
            made.problems.append(_at(one.source, said, "give it another name"))
            continue
        taken[one.name] = f"is that of another, at {one.source}"
        if not isinstance(one, ValueStore):
            try:
                own.append(one())
            except Exception as error:  # a plugin's own __init__ may raise anything
                said = f"{_called(one)} cannot be made: {type(error).__name__}: {error}"
                made.problems.append(_at(one.source, said, "it is made without arguments"))
    made.managers = Managers(own, stores)


def _called(one: type[IOManager] | ValueStore) -> str:
    return repr(one) if isinstance(one, ValueStore) else f"the I/O manager {one.__name__}"


def _scheduled(made: Catalog, schedule: Schedule) -> ProblemData | None:
    """What is wrong with the parameters that a schedule gives."""
    spec = schedule.spec
    if spec.body or spec.target not in made.parameters:
        return None
    try:
        made.parameters[spec.target].check(spec.params)
    except Exception as error:  # a validator of the plugin's may raise anything
        said, hint = (error.message, error.hint) if isinstance(error, FreshetError) else (repr(error), "")
        return _at(spec.source, f"schedule {spec.name}: params: {said}", hint)
    return None


def _describe_job(made: Catalog, job: Job) -> None:
    try:
        parameters = Parameters(job.spec.name, job.function, given={"ctx", *job.spec.resources})
        schema = parameters.schema()
    except Exception as error:  # an annotation may be anything, and so may what it raises
        made.problems.append(
            _at(
                job.spec.source,
                f"job {job.spec.name}: its annotations cannot be read: {type(error).__name__}: {error}".splitlines()[0],
                "annotate parameters with types that pydantic can validate from JSON, importable where the job stands",
            )
        )
        return
    job.spec = dataclasses.replace(job.spec, parameters=schema, plain=parameters.plain)
    made.parameters[job.spec.name] = parameters


def _check_plain(made: Catalog, spec: Any) -> None:
    try:
        orjson.dumps(spec)
    except TypeError as error:
        message = f"{spec.name}: a setting is not plain data: {error}"
        made.problems.append(_at(spec.source, message, "use texts, numbers, lists and dicts"))


def _sets(assets: Iterable[Asset], sensors: Iterable[Sensor]) -> tuple[PartitionsSpec, ...]:
    """Every distinct set; two of one name that differ are both kept, for `validate` to refuse."""
    found: list[PartitionsSpec] = []
    for one in [*(asset.spec.partitions for asset in assets), *(sensor.partitions for sensor in sensors)]:
        if one is not None and one not in found:
            found.append(one)
    return tuple(found)


def _problem(error: DefinitionError) -> ProblemData:
    return ProblemData(message=error.message, hint=error.hint, file=error.file, line=error.line, traceback="")


def _at(source: Source | None, message: str, hint: str) -> ProblemData:
    file, line = (source.file, source.line) if source else (None, None)
    return ProblemData(message=message, hint=hint, file=file, line=line, traceback="")
