"""An object in a request that may have more fields than are read of it."""

from typing import Any, cast

from pydantic import BaseModel, ConfigDict, model_validator

from server.api.parsing import check_passengers


class Part(BaseModel):
    """An object in a request. Fields that it does not have are left alone: clients send back what
    they once got, and there are hints in it that change no answer."""

    model_config = ConfigDict(strict=True, extra="ignore", use_attribute_docstrings=True)

    @model_validator(mode="before")
    @classmethod
    def _has_no_passengers(cls, value: Any) -> Any:
        if not isinstance(value, dict):
            return value
        given = cast("dict[str, Any]", value)
        check_passengers(given, cls.model_fields.keys())
        return given
