"""Everything that the page says, in English and Traditional Chinese."""

from __future__ import annotations

import re
from collections.abc import Sequence

import gradio as gr

LANGUAGES = (("English", "en"), ("繁體中文", "zh"))

WORDS: dict[str, tuple[str, str]] = {
    "tagline": (
        "Pose and shape of one face, the look of others.",
        "一張臉的姿態與輪廓，融合其他臉的樣貌。",
    ),
    "notice": (
        "<b>Results are synthetic</b> and marked so. Please use pictures of people only with their "
        "consent. Pictures stay on this machine, and are forgotten when the page is closed.",
        "<b>結果皆為人工合成</b>，並帶有標記。使用他人照片前，請先取得本人同意。"
        "圖片只留在這台電腦，關閉頁面後即清除。",
    ),
    "language": ("Language", "語言"),
    "tab_fuse": ("Fuse", "融合"),
    "tab_explore": ("Explore", "探索"),
    "tab_compare": ("Compare models", "比較模型"),
    "tab_about": ("About the model", "關於模型"),
    # -- fuse: pictures
    "source": ("Source", "來源"),
    "source_help": ("gives pose and layout", "提供姿態與版面"),
    "references": ("References", "參考"),
    "references_help": ("give the look; up to six, each with a weight", "提供樣貌；最多六張，各有權重"),
    "result": ("Result", "結果"),
    "upload_source": ("Source picture", "來源圖片"),
    "upload_reference": ("Add a reference", "加入參考圖片"),
    "drop": ("Drop a picture here, or click", "將圖片拖放到此，或點選上傳"),
    "examples": ("Or take an example", "或選一個範例"),
    "examples_source": ("Example sources", "範例來源"),
    "examples_reference": ("Example references", "範例參考"),
    "model": ("Model", "模型"),
    "seen_as": ("As the model sees it", "模型看到的樣子"),
    "no_source": ("No source yet", "尚無來源"),
    "no_references": ("No references yet", "尚無參考"),
    "reference_n": ("Reference {n}", "參考 {n}"),
    "weight_n": ("Weight of reference {n}", "參考 {n} 的權重"),
    "remove_n": ("Remove reference {n}", "移除參考 {n}"),
    "fuse": ("Fuse", "融合"),
    "fuse_keep": ("Keep this result", "保留此結果"),
    "stop": ("Stop", "停止"),
    "before": ("Source", "來源"),
    "after": ("Result", "結果"),
    "slide": ("Slide between source and result", "在來源與結果之間滑動"),
    "empty_result": (
        "Choose a source and at least one reference. The result appears here, and follows "
        "every control.",
        "請選擇一張來源與至少一張參考。結果會顯示於此，並隨每個控制項即時更新。",
    ),
    "made": ("{side} px, made in {seconds} s", "{side} 像素，耗時 {seconds} 秒"),
    "kept": ("Kept below, under “Kept results”.", "已保留在下方「保留的結果」。"),
    "stopped": ("Stopped.", "已停止。"),
    # -- fuse: corrections
    "adjust": ("Correct the faces", "校正臉部"),
    "adjust_help": (
        "The white marks show where the model expects eyes and mouth.",
        "白色標記為模型預期的眼睛與嘴巴位置。",
    ),
    "adjust_who": ("Picture", "圖片"),
    "adjust_face": ("What to take", "取用部分"),
    "whole": ("the whole picture", "整張圖片"),
    "face_n": ("face {n} ({kind})", "第 {n} 張臉（{kind}）"),
    "human": ("human", "人"),
    "animal": ("animal", "動物"),
    "anime": ("anime", "動漫"),
    "across": ("Right or left", "左右"),
    "down": ("Down or up", "上下"),
    "zoom": ("Nearer or farther", "遠近"),
    "turn": ("Turn, degrees", "旋轉（度）"),
    "reset": ("As it was found", "恢復原狀"),
    # -- fuse: controls
    "controls_look": ("Look", "樣貌"),
    "controls_levels": ("Coarse to fine", "由粗到細"),
    "controls_places": ("Places", "部位"),
    "controls_latent": ("Random looks", "隨機樣貌"),
    "controls_shape": ("Shape and output", "形狀與輸出"),
    "strength": ("Strength", "強度"),
    "strength_info": ("0 keeps the source's own look, 1 takes all of the new one", "0 保留來源樣貌，1 完全採用新樣貌"),
    "interpolation": ("Mixing", "混合方式"),
    "linear": ("straight", "線性"),
    "spherical": ("on the sphere", "球面"),
    "domain": ("Domain", "類別"),
    "domain_info": ("of the references; needed for a random look", "參考圖片的類別；隨機樣貌必選"),
    "guessed": ("guessed from each reference", "由參考圖片推測"),
    "colour_match": ("Colours of the source", "來源色彩"),
    "content_strength": ("Outlines of the source", "來源輪廓"),
    "levels_info": (
        "Give a level a reference of its own: coarse is layout, fine is colour and texture.",
        "可為各層指定參考：粗層影響版面，細層影響色彩與質感。",
    ),
    "coarse": ("Coarse", "粗"),
    "middle": ("Middle", "中"),
    "fine": ("Fine", "細"),
    "as_mixed": ("as mixed", "依混合結果"),
    "place": ("Place", "部位"),
    "place_from": ("Look of this place", "此部位的樣貌"),
    "eyes": ("eyes", "眼睛"),
    "brows": ("brows", "眉毛"),
    "nose": ("nose", "鼻子"),
    "mouth": ("mouth", "嘴巴"),
    "skin": ("skin", "皮膚"),
    "outer": ("around the face", "臉的周圍"),
    "left": ("left half", "左半"),
    "right": ("right half", "右半"),
    "top": ("upper half", "上半"),
    "bottom": ("lower half", "下半"),
    "paint": ("Paint a place on the source", "在來源上塗出部位"),
    "painted_from": ("Look of the painted place", "塗抹部位的樣貌"),
    "paint_clear": ("Clear the paint", "清除塗抹"),
    "brush": ("Brush", "筆刷大小"),
    "paint_empty": ("The source appears here, to paint on.", "來源會顯示於此，供你塗抹。"),
    "feather": ("Softness of the edges", "邊緣柔和度"),
    "latent": ("Take a random look instead of the references", "以隨機樣貌取代參考圖片"),
    "seed": ("Seed", "種子"),
    "dice": ("🎲 Another seed", "🎲 換一個種子"),
    "truncation": ("Truncation", "截斷"),
    "truncation_info": ("0 is the most typical look of the domain", "0 為該類別最典型的樣貌"),
    "variation": ("Variation number", "變化編號"),
    "variation_info": ("0 is the look itself; Explore finds others", "0 為原樣貌；可在「探索」尋找其他"),
    "variation_angle": ("Size of variations, degrees", "變化幅度（度）"),
    "second_source": ("Blend in the shape of", "混入形狀"),
    "nobody": ("none", "無"),
    "source_mix": ("Share of that shape", "該形狀的比例"),
    "size": ("Size of the result", "結果大小"),
    "size_own": ("the model's own, {side} px", "模型原始大小，{side} 像素"),
    "size_n": ("{side} px, interpolated", "{side} 像素（內插）"),
    "paste_back": ("Put the face back into the photograph", "將臉貼回原照片"),
    # -- keep
    "kept_title": ("Kept results", "保留的結果"),
    "kept_empty": (
        "Press Fuse, and the result is kept here until the page is closed.",
        "按下「融合」後，結果會保留在此，直到關閉頁面。",
    ),
    "kept_gallery": ("Choose one", "選擇一張"),
    "again": ("Do this again", "再做一次"),
    "save_picture": ("Picture", "圖片"),
    "save_kit": ("Everything (zip)", "全部（zip）"),
    "save_settings": ("Settings (JSON)", "設定（JSON）"),
    "save_video": ("Video", "影片"),
    "command": (
        "The same picture on the command line, in the folder of the unpacked zip",
        "在解壓縮 zip 的資料夾中，以命令列產生相同圖片",
    ),
    "settings": ("Settings", "設定"),
    # -- explore
    "grid_title": ("Grid", "網格"),
    "grid_help": (
        "Every source (rows) with the look of every reference (columns). "
        "Choose a picture to keep it.",
        "每個來源（列）配上每個參考（欄）。選一張即可保留。",
    ),
    "grid_rows": ("Sources", "來源"),
    "grid_columns": ("References", "參考"),
    "grid_make": ("Make the grid", "製作網格"),
    "grid_sheet": ("Grid", "網格"),
    "video_title": ("Video", "影片"),
    "video_help": (
        "The source's look changes smoothly from one reference to the next.",
        "來源的樣貌由一張參考平滑過渡到下一張。",
    ),
    "video_make": ("Make the video", "製作影片"),
    "video_seconds": ("Seconds from one to the next", "每段秒數"),
    "video_loop": ("Come back to the first", "回到第一張"),
    "variations_title": ("Variations", "變化"),
    "variations_help": (
        "Random steps away from the look of the Fuse tab. Choose one to go on with it.",
        "由「融合」頁的樣貌隨機變化。選一張以繼續。",
    ),
    "variations_make": ("Make variations", "產生變化"),
    "variations_count": ("How many", "數量"),
    "variations_again": ("Others", "換一批"),
    "picked": ("Variation {n} is set in the Fuse tab.", "已在「融合」頁設定變化 {n}。"),
    "example": ("example: {name}", "範例：{name}"),
    # -- compare, about
    "compare_help": (
        "The source and the references of the Fuse tab, by several models.",
        "以多個模型處理「融合」頁的來源與參考。",
    ),
    "compare_models": ("Models", "模型"),
    "compare_make": ("Compare", "比較"),
    "compare_one": (
        "There is one model. Name more when you start the page: facemeld ui --model FOLDER …",
        "目前只有一個模型。啟動時可指定更多：facemeld ui --model FOLDER …",
    ),
    "compare_gallery": ("Results", "結果"),
    "working": ("Working: {done} of {total}", "處理中：{done} / {total}"),
    "done": ("Done in {seconds} s.", "完成，耗時 {seconds} 秒。"),
    # -- errors that a person can cause here
    "need_source": ("Choose a source first.", "請先選擇來源。"),
    "need_reference": ("Add at least one reference first.", "請先加入至少一張參考。"),
    "need_two": ("A video needs at least two references.", "影片需要至少兩張參考。"),
    "too_many": ("There is room for {n} references.", "最多 {n} 張參考。"),
    "broken": ("Something went wrong here; the server's output tells more.", "發生錯誤；詳情請見伺服器輸出。"),
}  # fmt: skip

_ERRORS: tuple[tuple[str, str], ...] = (
    (r"this is not a picture that can be read", "這不是可讀取的圖片。"),
    (r"the picture is empty", "圖片是空的。"),
    (r"the picture is truncated or damaged", "圖片不完整或已損壞。"),
    (r"the picture has too many pixels", "圖片的像素過多，請先縮小。"),
    (r"the file is over the limit", "檔案過大，請先縮小。"),
    (r"no face was found", "找不到臉。"),
    (r"a latent style needs a domain", "隨機樣貌需要選擇類別。"),
    (r"no reference picture", "請先加入參考圖片，或選擇隨機樣貌。"),
    (r"this took longer than the limit", "時間超過上限，請減少一次的要求。"),
    (r"the machine is busy", "電腦忙碌中，請稍後再試。"),
    (r"content strength is about skips", "此模型沒有跳接，無法調整來源輪廓。"),
    (r"this model cannot tell the domain", "此模型無法推測類別，請自行選擇。"),
    (r"this model's decoder has no", "此模型的解碼器沒有這一層。"),
)


def say(key: str, language: str, **values: object) -> str:
    """A text in a language."""
    return WORDS[key][language == "zh"].format(**values)


def tell(error: Exception, language: str) -> str:
    """An error as one sentence."""
    what, fix = getattr(error, "what", str(error)), getattr(error, "fix", "")
    if language == "zh":
        for pattern, text in _ERRORS:
            if re.search(pattern, what):
                return text
    sentence = what[:1].upper() + what[1:]
    return f"{sentence}: {fix}." if fix else f"{sentence}."


def preferred(accepted: str) -> str:
    """The page's language for an Accept-Language header."""
    for part in accepted.lower().split(","):
        tag = part.split(";")[0].strip()
        if tag.startswith("zh"):
            return "zh"
        if tag.startswith("en"):
            return "en"
    return "en"


class Translator:
    """Knows which text stands where, so that all can change at once."""

    def __init__(self) -> None:
        self._places: list[tuple[gr.blocks.Block, dict[str, str]]] = []

    def __call__(self, component, **keys: str):
        """The component with these texts: ``label="strength"``, ``value="fuse"``, …"""
        for attribute, key in keys.items():
            setattr(component, attribute, say(key, "en"))
        self._places.append((component, keys))
        return component

    @property
    def components(self) -> list:
        """All that have texts."""
        return [component for component, _ in self._places]

    def updates(self, language: str) -> Sequence[dict]:
        """For each component, its texts in a language."""
        return [
            gr.update(**{name: say(key, language) for name, key in keys.items()})
            for _, keys in self._places
        ]
