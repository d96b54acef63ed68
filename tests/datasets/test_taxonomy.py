"""The dataset of a run's taxonomy."""

from pathlib import Path

import pytest
from kedro.io import DatasetError

from lng_kedro.datasets import TaxonomyDataset
from lng_kedro.taxonomy import Taxonomy


class TestTaxonomyDataset:
    def test_round_trip(self, taxonomy: Taxonomy, tmp_path: Path) -> None:
        grown = taxonomy.with_data_values({"part": ["Pipe"], "material": ["SUS304", "9% Ni 강"]})
        dataset = TaxonomyDataset(filepath=str(tmp_path / "deep/taxonomy.json"))
        assert not dataset.exists()
        dataset.save(grown)
        assert dataset.exists()
        loaded = dataset.load()
        assert loaded == grown != taxonomy
        assert loaded.choices("material") == ("9% Ni 강", "SUS304")
        assert "Pipe" in loaded.choices("part")
        # A person can open it.
        assert "용접불량" in (tmp_path / "deep/taxonomy.json").read_text(encoding="utf-8")

    def test_what_is_no_taxonomy_is_an_error(self, tmp_path: Path) -> None:
        (tmp_path / "taxonomy.json").write_text("[]", encoding="utf-8")
        with pytest.raises(DatasetError, match=r"taxonomy\.json is not a taxonomy"):
            TaxonomyDataset(filepath=str(tmp_path / "taxonomy.json")).load()
