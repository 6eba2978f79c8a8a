"""The recipe of emoji_wan from end to end, a few steps of each stage."""

import pytest
import torch

pytest.importorskip("sentencepiece", reason="the recipe's tokenizer is trained with the sentencepiece package")
train_wan = pytest.importorskip("emoji_world.base_training.train_wan")

FEW = ["--stills", "280", "--clips", "6", "--still-batch", "4", "--clip-batch", "2", "--no-compile", "--device", "cpu"]
FEW += ["--concepts", "dog", "cat", "--first-drawings"]


def test_the_recipe_runs_goes_on_and_writes(tmp_path):
    from diffusers import WanPipeline

    work, output = tmp_path / "work", tmp_path / "base"
    arguments = ["--cache-dir", str(work), "--output", str(output), *FEW]
    train_wan.main([*arguments, "--autoencoder-steps", "2", "--still-steps", "2", "--clip-steps", "2"])
    pipeline = WanPipeline.from_pretrained(output, local_files_only=True)
    assert pipeline.transformer.config.num_layers == 8
    assert pipeline.vae.config.latents_std[0] > 0
    state = torch.load(work / "clips.pt", weights_only=True)
    assert state["step"] == 2
    trained = state["average"]["transformer.proj_out.weight"].half()
    assert torch.equal(pipeline.transformer.proj_out.weight.half(), trained)
    assert float(trained.abs().max()) > 0

    other = tmp_path / "from_base"
    arguments = [
        "--cache-dir",
        str(tmp_path / "more"),
        "--data",
        str(work),
        "--output",
        str(other),
        "--from-base",
        str(output),
    ]
    train_wan.main([*arguments, *FEW, "--still-steps", "1", "--clip-steps", "0"])
    again = WanPipeline.from_pretrained(other, local_files_only=True)
    for name, weight in pipeline.vae.state_dict().items():
        assert torch.equal(weight, again.vae.state_dict()[name])
    difference = again.transformer.proj_out.weight.float() - pipeline.transformer.proj_out.weight.float()
    assert 0 < float(difference.detach().abs().max()) < 0.01

    train_wan.main(["--cache-dir", str(work), "--output", str(tmp_path / "last"), "--write-only"])
    assert (tmp_path / "last" / "model_index.json").is_file()


def test_there_must_be_something_to_write(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"holds neither clips\.pt nor stills\.pt; train first"):
        train_wan.main(["--cache-dir", str(tmp_path), "--write-only"])


def test_an_unknown_concept_is_refused(tmp_path):
    with pytest.raises(ValueError, match="concepts: got unicorn, allowed: dog, cat"):
        train_wan.main(["--cache-dir", str(tmp_path), "--concepts", "dog", "unicorn"])


def test_minutes_or_steps_not_both(capsys):
    with pytest.raises(SystemExit):
        train_wan.main(["--still-minutes", "3", "--still-steps", "5"])
    assert "not allowed with argument" in capsys.readouterr().err
