"""Names of people, found by what stands around them: titles, introductions, form fields, signatures.

A name alone, without such a cue, is not looked for: most capitalised words of a medical text are drugs,
diseases and eponyms (Parkinson, Crohn), and most Chinese surnames are ordinary words as well.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from functools import cache
from importlib.resources import files

from mulmed.corpus.deidentify.spans import Span

# Surnames in the order of the Hundred Family Surnames' commonest, then less common and double ones.
_SURNAMES = (
    "王李张刘陈杨黄赵吴周徐孙马朱胡郭何高林罗郑梁谢宋唐许韩冯邓曹彭曾萧肖田董袁潘于蒋蔡余杜叶程苏魏吕丁任沈"
    "姚卢姜崔钟谭陆汪范金石廖贾夏韦付傅方白邹孟熊秦邱江尹薛闫段雷侯龙史陶黎贺顾毛郝龚邵万钱严覃武戴莫孔向汤"
    "温康施文牛樊葛邢安齐易乔伍庞颜倪庄聂章鲁岳翟殷詹申欧耿关兰焦俞左柳甘祝包宁尚符舒阮柯纪梅童凌毕单季裴霍"
    "涂成苗谷盛曲翁冉骆蓝路游辛靳管柴蒙鲍华喻祁蒲房滕屈饶解牟艾尤阳时穆农司卓古吉缪简车项连芦麦褚娄窦戚岑"
    "景党宫费卜冷晏席卫米柏宗瞿桂全佟应臧闵苟邬边卞姬师和仇栾隋商刁沙荣巫寇桑郎甄丛仲虞敖巩明佘池查麻苑迟"
    "邝官封谈匡鞠惠荆乐冀郁胥南储原栗燕楚鄢劳谌奚皮粟冼蔺楼盘满闻位厉伊仝区郜海阚花权强帅屠豆朴扬"
)
_DOUBLE = "欧阳|上官|司马|诸葛|夏侯|尉迟|皇甫|东方|令狐|慕容|司徒|公孙|端木|长孙|宇文|南宫|轩辕|独孤"
# Surnames that are also everyday words in front of a title: 对于医生, 就诊时医生, 主管医生...
_WORDLIKE = frozenset("于时和向查成应解原位全明单连关常方任管易满区师文安平高万华白强左古老商官简路游季乐实")
_CONJUNCTIONS = "和向祝于时"
_ADDRESSING = ("谢谢", "感谢", "多谢", "请问", "你好", "您好", "请教")
_GIVEN = "[\u4e00-\u9fff]"
_TITLE = "医生|大夫|医师|主任|教授|护士长|护士|护师|院长|专家|老师|药师|先生|女士|小姐|太太|阿姨|叔叔"
_CUE = (
    r"(?:^|(?<=[\s，。！？、；：:,.!?;（(“\"~～\-])|(?<=谢谢)|(?<=感谢)|(?<=多谢)|(?<=请问)|(?<=你好)|(?<=您好)|(?<=请教)"
    r"|(?<=问问)|(?<=咨询)|(?<=麻烦)|(?<=拜托)|(?<=尊敬的)|(?<=亲爱的)|(?<=辛苦)|(?<=劳烦)|(?<=打扰)|(?<=遇到)|(?<=主治)"
    r"|(?<=挂了)|(?<=看了)|(?<=找了)|(?<=是)|(?<=的)|(?<=跟)|(?<=让)|(?<=给)|(?<=请)|(?<=找)|(?<=和)|(?<=与)|(?<=由)|(?<=科)|(?<=院)"
    r"|(?<=向)|(?<=听)|(?<=按)|(?<=问)|(?<=了)|(?<=吧)|(?<=啊)|(?<=您)|(?<=你)|(?<=一下)|(?<=一位)|(?<=那)|(?<=个)|(?<=昨天)|(?<=经))"
)
_BY_TITLE = re.compile(
    rf"{_CUE}(?!谢谢|麻烦|(?<=谢)谢|(?<=[感多])谢)((?!权威|康复|管床)(?:{_DOUBLE}|[{_SURNAMES}])({_GIVEN}{{0,2}}?))(?:{_TITLE})"
)
_NAME_ZH = rf"(?:(?:{_DOUBLE}){_GIVEN}{{1,2}}|[{_SURNAMES}]{_GIVEN}{{1,2}})"
_BY_FIELD = re.compile(
    rf"(?:姓名|名字|联系人|签名|签字|收件人|落款)(?:[\s:：]|是|叫|为)*({_NAME_ZH})(?![\u4e00-\u9fff])"
    rf"|(?:主治医[生师]|预约医[生师]|经治医[生师]|家属|患者|病人)\s*[:：]\s*({_NAME_ZH})(?![\u4e00-\u9fff])"
    rf"|(?:我叫|我名叫|名叫|本人叫|叫做|名字叫|我是)\s*((?:{_DOUBLE}|[{_SURNAMES}]){_GIVEN}{{1,2}})(?=[，。！,.!？?\s；;、]|$)"
    rf"|(?:我叫|我名叫|名叫|本人叫|名字叫)\s*({_NAME_ZH})"
    rf"|(?:^|[\s，。；,;：:（(])(?:患者|病人)?({_NAME_ZH})(?=[\s，,、(（]*(?:男|女)性?[\s，,、]*\d{{1,3}}\s*(?:岁|周岁|个月))"
)
_RELATIVE = re.compile(
    "(?:爱人|丈夫|妻子|老公|老婆|儿子|女儿|父亲|母亲|爸爸|妈妈|弟弟|哥哥|姐姐|妹妹|朋友|同事)"
    rf"((?:{_DOUBLE}|[{_SURNAMES}]){_GIVEN}{{2}})(?=[的，。,.、：:（(\s]|$)"
)
_NOT_GIVEN = frozenset(
    "的了是在有不我你您他她它们这那个和或就也都还很上下去来说会能要可以为到给让请问看找从向对把被等及吗呢吧啊"
    "科院级型类种些告什么怎谁哪时候后前里多少每次只已经过做没无非病药症医生"
)


@cache
def vocabulary() -> dict[str, str]:
    """Words of two and three characters with their part of speech, from jieba's dictionary (MIT)."""
    words = {}
    with files("jieba").joinpath("dict.txt").open(encoding="utf-8") as lines:
        for line in lines:
            word, _, tag = line.rstrip("\n").split(" ")
            if 2 <= len(word) <= 5:
                words[word] = tag
    return words


def _is_name_zh(name: str, given: str) -> bool:
    """A surname with nothing after it, or with what can be a given name and is no other word."""
    if not given:
        return True
    if not _NOT_GIVEN.isdisjoint(given):
        return False
    words = vocabulary()
    ordinary = (name, given) if name[0] in _WORDLIKE else (name,)  # 和年龄 is no name, nor 应按照
    return all(word not in words or words[word].startswith("nr") for word in ordinary)


def find_names_zh(text: str) -> Iterator[Span]:
    """Chinese names by title, form field, introduction, or sex and age behind them."""
    for match in _BY_TITLE.finditer(text):
        name, given = match[1], match[2]
        before = text[max(0, match.start() - 2) : match.start()]
        addressed = before in _ADDRESSING or before.endswith(("您", "啊", "吧"))
        if not addressed and name[0] in _CONJUNCTIONS:
            continue
        if not addressed and name in _WORDLIKE and re.search(rf"{_GIVEN}$", before):
            continue
        if _is_name_zh(name, given):
            yield Span(match.start(1), match.end(1), "NAME")
    for match in _BY_FIELD.finditer(text):
        group = match.lastindex
        assert group is not None
        name = match[group]
        surname = 2 if re.match(_DOUBLE, name) else 1
        if _is_name_zh(name, name[surname:]):
            yield Span(*match.span(group), "NAME")
    for match in _RELATIVE.finditer(text):
        name = match[1]
        tag = vocabulary().get(name[:2], "nr")  # 我儿子黄疸高 is no name
        if name[0] not in _CONJUNCTIONS and tag.startswith("nr") and _is_name_zh(name, name[1:]):
            yield Span(*match.span(1), "NAME")


@cache
def word_list(name: str) -> frozenset[str]:
    """The words of one of our lexicons (``lexicons/NAME.txt``; lines beginning with # are comments)."""
    text = files("mulmed.corpus").joinpath("lexicons", f"{name}.txt").read_text(encoding="utf-8")
    return frozenset(word for line in text.splitlines() if not line.startswith("#") for word in line.split())


_NAMES_LIKE_VERBS = frozenset(
    [
        "ahmed",
        "mohammed",
        "muhammed",
        "mohamed",
        "javed",
        "saeed",
        "syed",
        "sayed",
        "waleed",
        "khaled",
        "rasheed",
        "naveed",
    ]
)
_CAPITAL = r"(?:[A-Z][a-z’'-]*[a-z](?:[A-Z][a-z]+)?|[A-Z]\.|[A-Z]{2,}(?![a-z])|[A-Z](?=\s[A-Z]))"
_FULL = rf"{_CAPITAL}(?:(?:[ \t]|(?<=\.)){_CAPITAL}){{0,3}}"
_BY_TITLE_EN = re.compile(
    rf"(?:(?<![A-Z])(?:Drs?|DR)(?:\.\s*|\s+)|(?<![A-Za-z])(?:Prof|Mr|Mrs|Ms)(?:\.\s*|\s+)"
    rf"|(?<![A-Za-z])(?:Doctor|Professor|Miss|Nurse|Sister)[ \t]+)({_FULL})"
)
_LOWER_DOCTOR = re.compile(r"(?<![A-Za-z])[Dd]r(?:\.\s*|\s+)([a-z]{3,})(\s[a-z]{3,})?")
_MY_NAME = re.compile(
    r"\b(?:my name is|my name's|name of (?:the )?patient is|(?:patient(?:'s)? |full )name\s*:|(?<=\n)name\s*:)[ \t]*"
    r"([A-Za-z][A-Za-z’'-]+(?:[ ][A-Z]\.)?(?:[ ][A-Za-z][A-Za-z’'-]+)?)",
    re.IGNORECASE,
)
_I_AM = re.compile(
    r"\b(?:[Ii] am|[Ii]'m|[Tt]his is|[Mm]yself)\s+((?:Dr\.?\s*)?[A-Z][a-z]+(?:\s[A-Z]\.)?(?:\s[A-Z][a-z]+)+|[A-Z][a-z]{2,})"
    r"(?=\s+from\b|\s+here\b|,?\s+(?:aged?\s+)?\d{1,2}\b|,\s+an?\s+\d|,\s+(?:MD|MBBS))"
)
_SIGNED = re.compile(
    r"(?:[Rr]egards|[Ss]incerely|[Ww]ishes|[Tt]hanks|[Tt]hank you|THANKS|REGARDS|[Yy]ours|[Cc]heers|[Ll]ove|[Tt]ake care)"
    rf"\s*[,.!:-]*\s*(?:Dr\.?\s*)?({_FULL})(?=[\s,.;]*(?:$|\n|MD\b|MBBS\b|M\.D|MS\b|DNB\b|DM\b|[A-Z][a-z]+olog|Consultant|Physician))"
)
_FIELD_EN = re.compile(
    r"(?:[Cc]orrespond(?:ence|ing [Aa]uthor)(?: to)?|[Aa]uthors?|[Cc]ontact(?: [Pp]erson)?|(?:[Ww]ritten|[Rr]eviewed|[Ss]igned) by)"
    rf"\s*:\s*({_FULL})"
)
_INITIAL = re.compile(r"[A-Z]\.?")


def find_names_en(text: str) -> Iterator[Span]:
    """English names by title, introduction, form field or signature. The title itself stays."""
    for pattern in (_BY_TITLE_EN, _SIGNED, _I_AM, _FIELD_EN, _MY_NAME):
        for match in pattern.finditer(text):
            if span := _name_in(match):
                yield span
    for match in _LOWER_DOCTOR.finditer(text):
        first = match[1]
        verb = first.endswith(("ed", "ing", "ly")) and first not in _NAMES_LIKE_VERBS
        if first in word_list("not_names_en") or verb:
            continue
        second = (match[2] or "").strip()
        end = match.end() if second and second not in word_list("not_names_en") else match.end(1)
        yield Span(match.start(1), end, "NAME")


def _name_in(match: re.Match[str]) -> Span | None:
    """The leading words of the first group that can be a name; initials alone are none."""
    start = match.start(1)
    end = start
    real = False
    for word in re.finditer(r"\S+", match[1]):
        bare = re.split("['’]", word[0].strip(".,"))[0]
        if bare.lower() in word_list("not_names_en"):
            break
        end = start + word.start() + len(bare)
        real = real or not _INITIAL.fullmatch(bare)
    return Span(start, end, "NAME") if real else None
