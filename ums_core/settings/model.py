"""What turns text into vectors, and how long the vectors are."""

from typing import Self

from pydantic import Field, field_validator, model_validator

from ums_core.errors import SettingsError
from ums_core.settings.section import Section

__all__ = ["ModelConfig"]

_TEXT = "text"


class ModelConfig(Section):
    """The embedder and the vectors of each modality.

    Every modality has a dimension: ``vector_dims`` where it names the modality, else ``vector_dim`` for text. Assign a
    new ``ModelConfig`` to change ``modalities`` and ``vector_dims`` together.
    """

    embedder: str = Field(
        default="static",
        min_length=1,
        description="What embeds text: static, hashing[:DIM], onnx:FOLDER, sentence-transformers[:NAME_OR_PATH], "
        "or none where the caller gives the vectors.",
    )
    vector_dim: int = Field(
        default=384, ge=1, description="Number of components of the text vectors that the caller gives; at least 1."
    )
    modalities: list[str] = Field(
        default_factory=lambda: [_TEXT], description="Kinds of vectors kept, each in an index of its own."
    )
    vector_dims: dict[str, int] = Field(
        default_factory=dict,
        description="Number of components by modality, at least 1; needed for each modality other than text.",
    )

    @field_validator("modalities")
    @classmethod
    def _distinct_names(cls, modalities: list[str]) -> list[str]:
        if not modalities or not all(name.strip() for name in modalities) or len(set(modalities)) < len(modalities):
            raise SettingsError('must be one or more different, non-empty names such as ["text", "image"]')
        return modalities

    @field_validator("vector_dims")
    @classmethod
    def _positive(cls, vector_dims: dict[str, int]) -> dict[str, int]:
        for modality, dim in vector_dims.items():
            if dim < 1:
                raise SettingsError(f"the dimension of {modality!r} must be at least 1, got {dim}")
        return vector_dims

    @model_validator(mode="after")
    def _every_modality_has_one_dimension(self) -> Self:
        missing = [name for name in self.modalities if name not in {_TEXT, *self.vector_dims}]
        if missing:
            raise SettingsError(
                f"no dimension for the modalities {missing}; add them to vector_dims, "
                f"such as vector_dims={{{missing[0]!r}: 512}}"
            )
        stray = sorted(set(self.vector_dims) - set(self.modalities))
        if stray:
            raise SettingsError(
                f"vector_dims names {stray}, which modalities {self.modalities} lacks; add them to modalities, "
                "or assign a new ModelConfig to change both"
            )
        return self

    def dim_of(self, modality: str) -> int:
        """The number of components of a modality's vectors, where the caller gives them.

        Raises:
            SettingsError: the modality is not among ``modalities``.
        """
        if modality not in self.modalities:
            raise SettingsError(f"unknown modality {modality!r}; modalities are {self.modalities}")
        return self.vector_dims.get(modality, self.vector_dim)
