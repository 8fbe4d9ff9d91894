import hashlib
import json

from adapter.learner.model_card import config_hash, write_card
from adapter.store.adapter_folders import WEIGHTS
from adapter.store.releases import AdapterRelease

CONFIG = {"model": "org/base", "reward": "dare", "advantage": "rloo", "lora_rank": 8,
          "redis_url": "redis://:secret@host/0"}  # fmt: skip


def test_card_and_manifest(tmp_path) -> None:
    (tmp_path / WEIGHTS).write_bytes(b"weights")
    draft = AdapterRelease(7, 0, "", "", ["a", "b"], {"kl": 0.25, "loss": 1e-7}, 3.0,
                           config="cafe", clients=["0123456789abcdef"])  # fmt: skip
    write_card(tmp_path, draft, CONFIG)
    card = (tmp_path / "README.md").read_text()
    assert "base_model: org/base\n" in card
    assert "# Version 7" in card
    assert "0, the base model, on 2 groups" in card.replace("\n", " ")
    assert "| kl | 0.25 |" in card
    assert "--max-lora-rank 8 \\\n  --lora-modules v7=" in card
    manifest = json.loads((tmp_path / "manifest.json").read_text())
    assert manifest["weights_sha256"] == hashlib.sha256(b"weights").hexdigest()
    assert (manifest["parent"], manifest["sample_ids"]) == (0, ["a", "b"])
    assert manifest["settings"]["reward"] == "dare"
    assert "secret" not in card + json.dumps(manifest)
    assert "0123456789abcdef" not in card + json.dumps(manifest)  # folders are passed on


def test_the_config_hash_follows_settings_not_addresses() -> None:
    elsewhere = {**CONFIG, "redis_url": "redis://other/1"}
    assert config_hash(CONFIG) == config_hash(dict(reversed(elsewhere.items())))
    assert config_hash(CONFIG) != config_hash({**CONFIG, "reward": "majority"})
