"""Namespaces of a wiki whose links show no words: files and categories."""

import html
import os
import re
from collections.abc import Iterable

from realm_tf.data.corpus.decompressed_file import DecompressedFile

_HEAD_BYTES = 2**16  # `<siteinfo>` has 3 kB
_HIDDEN_KEYS = (b"-2", b"6", b"14")  # media, files, categories
_NAMESPACE = re.compile(
    rb'<namespace key="(-?\d+)"[^<>]*>([^<]+)</namespace>', re.IGNORECASE
)
_MAX_NAME = 100
_ENGLISH = ("media", "file", "image", "category")
# Names and older ones of a language. `<siteinfo>` lists no older ones.
_LANGUAGES = tuple(
    tuple(row.split(", "))
    for row in (
        "ملف, صورة, وسائط, تصنيف",
        "файл, картинка, медия, категория",
        "চিত্র, মিডিয়া, বিষয়শ্রেণী",
        "fitxer, imatge, categoria",
        "soubor, média, kategorie",
        "fil, billede, kategori",
        "datei, bild, medium, kategorie",
        "αρχείο, εικόνα, μέσο, κατηγορία",
        "dosiero, aŭdvidaĵo, kategorio",
        "archivo, imagen, medio, categoría",
        "fail, pilt, meedia, kategooria",
        "fitxategi, irudi, kategoria",
        "پرونده, تصویر, مدیا, رسانه, رده",
        "tiedosto, kuva, luokka",
        "fichier, média, catégorie",
        "ficheiro, imaxe, categoría",
        "קובץ, תמונה, מדיה, קטגוריה",
        "चित्र, मीडिया, श्रेणी",
        "datoteka, slika, medij, mediji, kategorija",
        "fájl, kép, média, kategória",
        "berkas, gambar, kategori",
        "immagine, categoria",
        "ファイル, 画像, メディア, カテゴリ",
        "파일, 그림, 미디어, 분류",
        "fasciculus, imago, categoria",
        "vaizdas, medija, kategorija",
        "bestand, afbeelding, categorie",
        "fil, bilde, medium, kategori",
        "plik, grafika, kategoria",
        "ficheiro, arquivo, imagem, multimédia, média, categoria",
        "fișier, fişier, imagine, categorie",
        "файл, изображение, медиа, категория",
        "súbor, obrázok, médiá, kategória",
        "датотека, слика, медиј, категорија",
        "fil, bild, kategori",
        "படிமம், ஊடகம், பகுப்பு",
        "ไฟล์, ภาพ, สื่อ, หมวดหมู่",
        "dosya, resim, medya, ortam, kategori",
        "файл, зображення, медіа, категорія",
        "tập tin, hình, phương tiện, thể loại",
        "文件, 檔案, 档案, 图像, 圖像, 媒体, 媒體, 分类, 分類",
    )
)


def normalized(name: str) -> str:
    """A name of a namespace as names are compared.

    Example:
    >>> normalized(" Tập_tin ")
    'tập tin'
    """
    return " ".join(name[:_MAX_NAME].replace("_", " ").split()).casefold()


def hidden_namespaces(names: Iterable[str] = ()) -> frozenset[str]:
    """Namespaces whose links leave no text, with their older names.

    Args:
        names: those of the wiki. Without any, those of many languages.

    Example:
    >>> "bild" in hidden_namespaces(["Datei"])
    True
    >>> "bild" in hidden_namespaces(["File"])
    False
    """
    own = {normalized(name) for name in names}
    rows = [row for row in _LANGUAGES if not own or own & set(row)]
    return frozenset({*own, *_ENGLISH, *(n for row in rows for n in row)})


def read_hidden_namespaces(path: str | os.PathLike[str]) -> frozenset[str]:
    """`hidden_namespaces` of a dump, by its `<siteinfo>` if it has one.

    Args:
        path: the dump, plain or compressed.
    """
    with DecompressedFile(path) as file:
        head = file.read(_HEAD_BYTES).partition(b"<page>")[0]
    return hidden_namespaces(
        html.unescape(name.decode("utf-8", "replace"))
        for key, name in _NAMESPACE.findall(head)
        if key in _HIDDEN_KEYS
    )
