"""The model card: `README.md` of an export, in Markdown with YAML front matter as hubs read it.

Names that a user chose (classes, sweeps, files) are escaped, so that none of them acts as markup.
"""

import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

import jinja2
import yaml

from toprung.analysis.exporting.card_facts import CardFacts, Exported
from toprung.analysis.exporting.model_code import Code, image_code, network_code
from toprung.trainables.system.printable import printable

if TYPE_CHECKING:
    from toprung.analysis.exporting.onnx_export import OnnxCheck

_TEMPLATE = "model_card.md.j2"
_UNKNOWN = "unknown"
_SPECIAL = re.compile(r"[\\`*_\[\]<>|#~$&!@]|:(?=//)|(?<=www)\.", re.IGNORECASE)


def model_card(exported: Exported, onnx: "OnnxCheck | None" = None) -> str:
    """The card of an exported model.

    Args:
        exported: the model and its origin.
        onnx: the check of its ONNX file, if there is one.

    Raises:
        SweepFolderError: if a file of the sweep's folder cannot be read.
    """
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(Path(__file__).parent),
        undefined=jinja2.StrictUndefined,
        keep_trailing_newline=True,
        finalize=as_text,
        autoescape=False,  # it would write HTML, not Markdown
    )
    facts = CardFacts(exported)
    return environment.get_template(_TEMPLATE).render(
        facts=facts,
        front_matter=Code(yaml.safe_dump(facts.front_matter(), sort_keys=False)),
        num_classes=len(exported.model.class_names),
        trial=exported.trial.number,
        sweep=exported.sweep.name,
        onnx=onnx,
        network_code=network_code(exported.model),
        image_code=image_code(exported.model.config.data),
    )


def as_text(value: Any) -> str:
    """A value as Markdown text; every value on the card passes through here.

    Nothing in it acts as markup, it stays on its line and in its cell, and every character is
    visible.
    """
    match value:
        case Code():
            return value
        case None:
            return _UNKNOWN
        case float():
            return f"{value:.4f}"
        case int():
            return f"{value:,}"
    line = " ".join(printable(str(value)).split())
    return _SPECIAL.sub(lambda found: f"\\{found[0]}", line)
