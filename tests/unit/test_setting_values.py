"""What the text of a setting means; wrong ones are in test_config.py."""

from __future__ import annotations

import pytest

from gateway import setting_values


@pytest.mark.parametrize(
    ("given", "key"),
    [
        ("c2VjcmV0", b"secret"),
        ("whsec_c2VjcmV0", b"secret"),
        ("c2VjcmV0cw==", b"secrets"),
        ("c2VjcmV0cw", b"secrets"),
        ("whsec_c2VjcmV0cw=", b"secrets"),
        ("-_-_", b"\xfb\xff\xbf"),
        ("+/+/", b"\xfb\xff\xbf"),
    ],
)
def test_key_of_webhooks(given: str, key: bytes) -> None:
    assert setting_values.webhook_key(given) == key


def test_folders_of_loaders() -> None:
    text = "Lora Loader (Custom).lora_1=loras, A.b=c,A.d = my_folder,v1.2 Loader.x=vae,,"
    assert setting_values.model_inputs(text) == {
        "Lora Loader (Custom)": {"lora_1": "loras"},
        "A": {"b": "c", "d": "my_folder"},
        "v1.2 Loader": {"x": "vae"},
    }
    assert setting_values.model_inputs(None) == setting_values.model_inputs("") == {}
