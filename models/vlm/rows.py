"""From contents to the tensors of a batch: prompt, tokens, patches, positions."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt
import torch
from PIL import Image
from transformers import LlavaNextImageProcessorPil, LlavaNextProcessor, PreTrainedModel, PreTrainedTokenizerBase

from mmretrieval.errors import CannotRead
from mmretrieval.types import Array, Content, Role
from models.vlm.pictures import Patches, PatchReader, sampled, stacked
from models.vlm.styles import Asked, Style

Ids = npt.NDArray[np.int64]
# A group of one batch holds rows at most this many times as long as its shortest: the rest would be padding.
SPREAD = 2.0


@dataclass(frozen=True, eq=False)
class Row:
    """One content, ready to be batched; `tiles` (n, 3, h, w) and `size` (height, width) are LLaVA's pictures."""

    prompt: str
    ids: Ids
    picture: Patches | None = None
    clip: Patches | None = None
    tiles: Array | None = None
    size: tuple[int, int] | None = None


class Rows(Protocol):
    """What a kind of backbone needs: rows one by one, and the model's arguments for several, without positions."""

    def row(self, content: Content, role: Role) -> Row: ...

    def arguments(self, rows: Sequence[Row]) -> dict[str, torch.Tensor]: ...


class QwenRows:
    """Rows for Qwen2-VL, Qwen2.5-VL and Qwen3-VL: each visual token is repeated once for every 2 x 2 patches."""

    def __init__(
        self,
        style: Style,
        tokenizer: PreTrainedTokenizerBase,
        patches: PatchReader,
        tokens: tuple[str, str],
        most_frames: int,
        most_tokens: int,
    ) -> None:
        self._style, self._tokenizer, self._patches, self._tokens = style, tokenizer, patches, tokens
        self._picture_id, self._clip_id = tokenizer.convert_tokens_to_ids(list(tokens))
        self._most_frames, self._most_tokens = most_frames, most_tokens

    def row(self, content: Content, role: Role) -> Row:
        """The content's prompt, token ids and patches; raises CannotRead where these do not fit into the model."""
        content = self._with_one_picture(content)
        picture = self._patches.picture(content.image) if content.image is not None else None
        frames = sampled(content.frames, self._most_frames)
        clip = self._patches.clip(frames) if frames else None
        prompt = _prompt(self._style, content, role, self._tokens)
        ids = self._expanded(self._timed(prompt, clip), picture, clip)
        if len(ids) > self._most_tokens:
            if np.isin(ids[self._most_tokens :], (self._picture_id, self._clip_id)).any():
                raise CannotRead(
                    f"a picture or clip takes {len(ids)} tokens with its prompt, and the model reads "
                    f"{self._most_tokens}: lower max_pixels, or for a clip frames"
                )
            ids = ids[: self._most_tokens]
        return Row(prompt, ids, picture, clip)

    def arguments(self, rows: Sequence[Row]) -> dict[str, torch.Tensor]:
        """Pixels and grids of all pictures and clips, in the rows' order."""
        made: dict[str, torch.Tensor] = {}
        for values, grids, seen in (
            ("pixel_values", "image_grid_thw", [r.picture for r in rows if r.picture is not None]),
            ("pixel_values_videos", "video_grid_thw", [r.clip for r in rows if r.clip is not None]),
        ):
            if seen:
                pixels, grid = stacked(seen)
                made[values], made[grids] = torch.from_numpy(pixels), torch.from_numpy(grid)
        return made

    def _with_one_picture(self, content: Content) -> Content:
        """For an embedder without clips, the middle frame stands for the clip."""
        if self._style.most_frames or not content.frames:
            return content
        if content.image is not None:
            raise CannotRead(f"{self._style.name} reads one picture, the content holds a picture and a clip: give one")
        return replace(content, image=content.frames[len(content.frames) // 2], frames=())

    def _timed(self, prompt: str, clip: Patches | None) -> str:
        """Writes the time before each pair of frames, where the model was trained to read it.

        As the Qwen3-VL processor of transformers 4.57 did; that of 5.23 leaves one more vision_start and vision_end
        around all of them.
        """
        if clip is None or not self._style.frames_per_second:
            return prompt
        seen = f"<|vision_start|>{self._tokens[1]}<|vision_end|>"
        moments = ((2 * slot + 0.5) / self._style.frames_per_second for slot in range(clip.grid[0]))
        return prompt.replace(seen, "".join(f"<{moment:.1f} seconds>{seen}" for moment in moments))

    def _expanded(self, prompt: str, picture: Patches | None, clip: Patches | None) -> Ids:
        ids = np.asarray(self._tokenizer(prompt)["input_ids"], dtype=np.int64).reshape(-1)
        repeats = np.ones(len(ids), dtype=np.int64)
        for seen, token in ((picture, self._picture_id), (clip, self._clip_id)):
            if seen is not None:
                places = ids == token
                repeats[places] = len(seen.values) // self._patches.merged // int(places.sum())
        return np.repeat(ids, repeats)


class LlavaRows:
    """Rows for LLaVA-NeXT: the picture whole and in tiles, as its own processor lays them out (with Pillow)."""

    def __init__(
        self,
        style: Style,
        tokenizer: PreTrainedTokenizerBase,
        config: Any,
        processing: dict[str, Any],
        most_tokens: int,
    ) -> None:
        known = LlavaNextImageProcessorPil.valid_kwargs.__annotations__
        taken = {k: v for k, v in processing.items() if k in known or hasattr(LlavaNextImageProcessorPil, k)}
        taken.pop("model_input_names", None)
        self._style, self._tokenizer, self._most_tokens = style, tokenizer, most_tokens
        self._processor = LlavaNextProcessor(
            LlavaNextImageProcessorPil(**{**taken, "image_grid_pinpoints": config.image_grid_pinpoints}),
            tokenizer,
            patch_size=config.vision_config.patch_size,
            vision_feature_select_strategy=config.vision_feature_select_strategy,
            num_additional_image_tokens=1,
        )
        self._token = self._processor.image_token

    def row(self, content: Content, role: Role) -> Row:
        """The content's prompt, token ids and tiles; raises CannotRead for clips and for what does not fit."""
        if content.frames:
            raise CannotRead("a LLaVA-NeXT backbone reads text and pictures, the content holds a clip")
        prompt = _prompt(self._style, content, role, (self._token, ""))
        if content.image is None:
            return Row(prompt, np.asarray(self._tokenizer(prompt)["input_ids"], dtype=np.int64)[: self._most_tokens])
        made = self._processor(images=[content.image.convert("RGB")], text=[prompt], return_tensors="np")
        ids = np.asarray(made["input_ids"][0], dtype=np.int64)
        if len(ids) > self._most_tokens:
            raise CannotRead(f"picture and text take {len(ids)} tokens, and the model reads {self._most_tokens}")
        height, width = (int(n) for n in made["image_sizes"][0])
        return Row(prompt, ids, tiles=np.asarray(made["pixel_values"][0], dtype=np.float32), size=(height, width))

    def arguments(self, rows: Sequence[Row]) -> dict[str, torch.Tensor]:
        """The tiles of all pictures, filled up to the same number (the model leaves out what was filled)."""
        seen = [(row.tiles, row.size) for row in rows if row.tiles is not None]
        if not seen:
            return {}
        most = max(len(tiles) for tiles, _ in seen)
        pixels = np.zeros((len(seen), most, *seen[0][0].shape[1:]), dtype=np.float32)
        for place, (tiles, _) in enumerate(seen):
            pixels[place, : len(tiles)] = tiles
        return {"pixel_values": torch.from_numpy(pixels), "image_sizes": torch.tensor([size for _, size in seen])}


def padded(rows: Sequence[Row], side: str, pad: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Token ids and attention mask (rows, longest), filled up on the left or right."""
    longest = max(len(row.ids) for row in rows)
    ids = np.full((len(rows), longest), pad, dtype=np.int64)
    mask = np.zeros((len(rows), longest), dtype=np.int64)
    for place, row in enumerate(rows):
        held = slice(longest - len(row.ids), longest) if side == "left" else slice(0, len(row.ids))
        ids[place, held], mask[place, held] = row.ids, 1
    return torch.from_numpy(ids), torch.from_numpy(mask)


def line_positions(mask: torch.Tensor) -> torch.Tensor:
    """Positions (rows, longest) that count each row's own tokens from 0; 1 at pads, as transformers has it."""
    return (mask.cumsum(-1) - 1).masked_fill(mask == 0, 1)


def grid_positions(
    model: PreTrainedModel, ids: torch.Tensor, mask: torch.Tensor, grids: dict[str, torch.Tensor]
) -> torch.Tensor:
    """Positions (3, rows, longest) in time, height and width, as the model's own rule gives them for its pictures."""
    config = model.config
    kinds = (ids == config.image_token_id).int() + 2 * (ids == config.video_token_id).int()
    positions: torch.Tensor = model.get_rope_index(
        ids,
        mm_token_type_ids=kinds * mask.int(),
        image_grid_thw=grids.get("image_grid_thw"),
        video_grid_thw=grids.get("video_grid_thw"),
        attention_mask=mask,
    )[0]
    return positions


def last_tokens(mask: torch.Tensor) -> torch.Tensor:
    """The place of each row's last token that is no pad, whichever side was filled up."""
    return mask.shape[1] - 1 - mask.flip(1).argmax(1)


def alike(lengths: Sequence[int]) -> list[list[int]]:
    """Places of rows grouped so that none is more than SPREAD times as long as the shortest of its group."""
    groups: list[list[int]] = []
    for place in sorted(range(len(lengths)), key=lengths.__getitem__):
        if groups and lengths[place] <= SPREAD * lengths[groups[-1][0]]:
            groups[-1].append(place)
        else:
            groups.append([place])
    return groups


def _prompt(style: Style, content: Content, role: Role, tokens: tuple[str, str]) -> str:
    """The prompt with one visual token each for picture and clip; a text that spells such a token is read without."""
    picture, clip = tokens
    words = [content.text, style.instruction(content, role)]
    for token in filter(None, tokens):
        words = [word if word is None else word.replace(token, "") for word in words]
    seen: Image.Image | None = content.image
    return style.prompt(Asked(words[0], words[1], picture if seen is not None else "", clip if content.frames else ""))
