r"""Which names may a variable have?

A variable's name becomes a component of the pipeline (a Python attribute), a key of a
`ModuleDict` and a folder on disk. It must therefore match
`^[A-Za-z][A-Za-z0-9_]*$`, be short, and be none of the words that those three places
already use.
"""

from __future__ import annotations

import difflib
import keyword
import re
from collections.abc import Collection, Iterable

from causal_diffusers.errors import GraphError

__all__ = ["RESERVED", "check_known", "check_name"]

_PATTERN = re.compile(r"[A-Za-z][A-Za-z0-9_]{0,99}")

# What a name would clash with, as text, because this folder imports neither torch nor
# diffusers. The tests compare it with the real classes.
_DIFFUSION_PIPELINE = """
components config config_name device disable_attention_slicing
disable_xformers_memory_efficient_attention download dtype enable_attention_slicing
enable_group_offload enable_model_cpu_offload enable_sequential_cpu_offload
enable_xformers_memory_efficient_attention extract_init_dict from_config from_pipe
from_pretrained get_config_dict has_compatibles hf_device_map ignore_for_config load_config
maybe_free_model_hooks model_cpu_offload_seq name_or_path numpy_to_pil parameters progress_bar
push_to_hub register_for_auto_class register_modules register_to_config remove_all_hooks
reset_device_map save_config save_pretrained set_attention_slice set_progress_bar_config
set_use_memory_efficient_attention_xformers to to_json_file to_json_string
"""
_MODULE_DICT = """
T_destination add_module apply bfloat16 buffers call_super_init children clear compile cpu cuda
double dump_patches eval extra_repr float forward get_buffer get_extra_state get_parameter
get_submodule half ipu items keys load_state_dict modules mtia named_buffers named_children
named_modules named_parameters pop register_backward_hook register_buffer register_forward_hook
register_forward_pre_hook register_full_backward_hook register_full_backward_pre_hook
register_load_state_dict_post_hook register_load_state_dict_pre_hook register_module
register_parameter register_state_dict_post_hook register_state_dict_pre_hook requires_grad_
set_extra_state set_submodule share_memory smart_apply state_dict to_empty train training type
update values xpu zero_grad
"""
_CAUSAL_PIPELINE = """
backbones card confounders counterfactual experiments format_version from_graph graph identify
mechanisms model_index plan register_with_diffusers scm self variables
"""
_WINDOWS_DEVICES = "aux con nul prn com1 com2 com3 com4 lpt1 lpt2 lpt3 lpt4"

RESERVED = frozenset(
    f"{_DIFFUSION_PIPELINE} {_MODULE_DICT} {_CAUSAL_PIPELINE} {_WINDOWS_DEVICES}".split()
)


def check_name(name: object, kind: str = "variable") -> str:
    """Check that a name can serve as attribute, module key and folder.

    Arguments:
        name: The name of a variable or of a confounder.
        kind: The word for it in the message.

    Returns:
        The same name.

    Raises:
        GraphError: If the name is not a short identifier, or is reserved.

    Example:
        >>> check_name("image")
        'image'
        >>> check_name("to")
        Traceback (most recent call last):
            ...
        causal_diffusers.errors.GraphError: a variable may not have the reserved name...
    """
    if not isinstance(name, str) or not _PATTERN.fullmatch(name):
        raise GraphError(
            f"a {kind}'s name must be a letter followed by letters, digits or underscores, at "
            f"most 100 in all: got {name!r}. Names become attributes and folders on disk. "
            f"Rename it{_legal(name)}."
        )
    if name in RESERVED or name.lower() in _WINDOWS_DEVICES.split() or keyword.iskeyword(name):
        raise GraphError(
            f'a {kind} may not have the reserved name "{name}": Python, torch, diffusers or the '
            f'file system uses it already. Rename it, for instance to "{name}_".'
        )
    return name


def check_known(
    names: str | Iterable[str], known: Collection[str], argument: str = "variables"
) -> frozenset[str]:
    """Check that names belong to a graph.

    Arguments:
        names: One name or several.
        known: The variables of the graph.
        argument: What the caller calls these names in the message.

    Returns:
        The names as a set.

    Raises:
        GraphError: If a name is unknown; the message proposes the nearest one.

    Example:
        >>> sorted(check_known(["X", "Y"], {"X", "Y", "Z"}))
        ['X', 'Y']
    """
    chosen = frozenset([names]) if isinstance(names, str) else frozenset(names)
    unknown = [name for name in chosen if name not in known]
    if unknown:
        raise GraphError(_unknown(min(unknown, key=str), known, argument))
    return chosen


def _legal(name: object) -> str:
    """Propose the nearest legal name, if there is one."""
    legal = re.sub(r"\W+", "_", str(name), flags=re.ASCII).strip("_0123456789")[:100]
    return f', for instance to "{legal}"' if legal else ""


def _unknown(name: object, known: Collection[str], argument: str) -> str:
    near = difflib.get_close_matches(str(name), known, n=1) or [
        other for other in known if other.lower() == str(name).lower()
    ]
    shown = ", ".join(list(known)[:12]) + (", ..." if len(known) > 12 else "")
    guess = f' Did you mean "{near[0]}"?' if near else ""
    return (
        f'`{argument}` must name variables of the graph: got "{name}".{guess} '
        f"The variables are {shown or 'none at all'}."
    )
