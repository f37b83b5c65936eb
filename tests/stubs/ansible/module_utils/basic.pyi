# What the collection uses of ansible-core, which carries no type information of its own.
import typing as t

class AnsibleModule:
    params: dict[str, t.Any]
    check_mode: bool
    no_log_values: set[str]
    tmpdir: str
    _diff: bool
    _verbosity: int
    _name: str
    def __init__(
        self,
        argument_spec: dict[str, t.Any],
        bypass_checks: bool = ...,
        no_log: bool = ...,
        mutually_exclusive: t.Sequence[t.Sequence[str]] | None = ...,
        required_together: t.Sequence[t.Sequence[str]] | None = ...,
        required_one_of: t.Sequence[t.Sequence[str]] | None = ...,
        add_file_common_args: bool = ...,
        supports_check_mode: bool = ...,
        required_if: t.Sequence[t.Sequence[t.Any]] | None = ...,
        required_by: dict[str, t.Any] | None = ...,
    ) -> None: ...
    def exit_json(self, **kwargs: t.Any) -> t.NoReturn: ...
    def fail_json(self, msg: str, **kwargs: t.Any) -> t.NoReturn: ...
    def warn(self, warning: str) -> None: ...
    def deprecate(self, msg: str, version: str | None = ..., date: str | None = ..., collection_name: str | None = ...) -> None: ...
    def log(self, msg: str, log_args: dict[str, t.Any] | None = ...) -> None: ...
    def debug(self, msg: str) -> None: ...

def env_fallback(*args: str, **kwargs: t.Any) -> t.Any: ...
def missing_required_lib(library: str, reason: str | None = ..., url: str | None = ...) -> str: ...
