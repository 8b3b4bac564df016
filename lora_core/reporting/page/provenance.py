"""Where the records that the page shows come from."""

from collections.abc import Iterable

from lora_core.provenance import Provenance


def provenance(origins: Iterable[Provenance]) -> dict[str, str]:
    """Return where results come from: each fact with all the values that it has among them."""
    values: dict[str, list[str]] = {}
    for origin in origins:
        commit = origin.commit or "no checkout"
        facts = {
            "code": f"{commit[:12]}{' with changes' if origin.dirty else ''}",
            "device": origin.device_model,
            "threads": origin.threads,
            "CUDA": origin.cuda,
            "cuDNN": origin.cudnn,
            "precision": origin.precision,
            "python": origin.python,
            **origin.packages,
        }
        for name, value in facts.items():
            known = values.setdefault(name, [])
            if value is not None and str(value) not in known:
                known.append(str(value))
    return {name: ", ".join(known) for name, known in values.items() if known}
