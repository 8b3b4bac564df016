#!/usr/bin/env bash
# pydantic 2.14.4
#
# Guess:  Annotated[int | Literal["auto"], Field(gt=0)] accepts "auto" (or at worst a ValidationError names it), because
#         Annotated[float | None, Field(gt=0)] accepts None.
# Truth:  the bound is applied to whatever the union let through: "auto" > 0 is a TypeError, and it leaves pydantic as a TypeError,
#         not as a ValidationError. The other errors of the same document are lost with it. Only None is exempt.
#         Bound inside the choice, Annotated[int, Field(gt=0)] | Literal["auto"], works.
# Matters: settings of a comparison are full of such fields (a rank or "all", a batch size or "auto"). A valid file stops the
#         program with a traceback that names no field, and "all errors at once" reports none.
# Output seen:
#   None, bound outside: accepted
#   auto, bound outside: TypeError: Unable to apply constraint 'gt' to supplied value auto
#   auto and two wrong fields, bound outside: TypeError: Unable to apply constraint 'gt' to supplied value auto
#   auto and two wrong fields, bound inside: ValidationError with 2 errors: seed, task
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install -qq --no-compile pydantic==2.14.4
"$folder/venv/bin/python" - <<'PY'
import sys
from dataclasses import dataclass
from typing import Annotated, Literal

import pydantic
from pydantic import Field, TypeAdapter, ValidationError


@dataclass(frozen=True)
class Optional:
    limit: Annotated[int | None, Field(gt=0)]


@dataclass(frozen=True)
class Outside:
    batch: Annotated[int | Literal["auto"], Field(gt=0)]
    seed: int = 1
    task: Literal["rte", "mrpc"] = "rte"


@dataclass(frozen=True)
class Inside:
    batch: Annotated[int, Field(gt=0)] | Literal["auto"]
    seed: int = 1
    task: Literal["rte", "mrpc"] = "rte"


def answer(kind, values):
    try:
        TypeAdapter(kind).validate_python(values)
    except ValidationError as error:
        names = ", ".join(str(e["loc"][0]) for e in error.errors())
        return f"ValidationError with {error.error_count()} errors: {names}"
    except TypeError as error:
        return f"TypeError: {error}"
    return "accepted"


wrong = {"batch": "auto", "seed": "one", "task": "rtf"}
results = {
    "None, bound outside": answer(Optional, {"limit": None}),
    "auto, bound outside": answer(Outside, {"batch": "auto"}),
    "auto, bound inside": answer(Inside, {"batch": "auto"}),
    "auto and two wrong fields, bound outside": answer(Outside, wrong),
    "auto and two wrong fields, bound inside": answer(Inside, wrong),
}
print("pydantic", pydantic.VERSION)
for name, result in results.items():
    print(f"{name}: {result}")
values = list(results.values())
ok = values[0] == values[2] == "accepted" and values[1].startswith("TypeError") and values[4] == "ValidationError with 2 errors: seed, task"
print("by guess: auto is accepted; really:", "a TypeError that is no ValidationError" if ok else "something else (changed)")
sys.exit(0 if ok else 1)
PY
