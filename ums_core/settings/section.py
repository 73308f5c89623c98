"""What every group of settings shares: unknown keys refused, assignments checked, one kind of error."""

from typing import TYPE_CHECKING

from pydantic import BaseModel, ConfigDict

from ums_core.errors import SettingsError
from ums_core.settings.complaint import translated, unknown

__all__ = ["Section"]


class Section(BaseModel):
    """A group of settings.

    A group is either valid or not made; an assignment that is refused leaves it as it was. Lists and mappings are
    replaced as a whole: a change in place is not checked.

    Raises:
        SettingsError: from construction and from assignment, with every key at fault.
    """

    # Inputs are hidden in pydantic's own message, which a traceback prints as the cause of ours.
    model_config = ConfigDict(extra="forbid", validate_assignment=True, allow_inf_nan=False, hide_input_in_errors=True)

    def __init__(self, /, **values: object) -> None:
        with translated(type(self)):
            super().__init__(**values)

    # Without this mark pydantic would build a nested group through __init__, and lose where in it the error lies.
    __init__.__pydantic_base_init__ = True  # type: ignore[attr-defined]  # a mark on a function

    if not TYPE_CHECKING:  # pragma: no branch  # a type checker that saw it would let any name be assigned

        def __setattr__(self, name: str, value: object) -> None:
            """Assign a checked value, or leave everything as it was."""
            if name not in type(self).model_fields:
                raise SettingsError(unknown(type(self), name))
            before, was_set = self.__dict__.copy(), name in self.model_fields_set
            try:
                with translated(type(self)):
                    super().__setattr__(name, value)
            except SettingsError:
                # pydantic runs the checks of the whole group after the new value is in place.
                self.__dict__.update(before)
                if not was_set:
                    self.model_fields_set.discard(name)
                raise
