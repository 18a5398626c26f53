"""Hospitals with a name of their own, and Chinese addresses."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from functools import lru_cache

from mulmed.corpus.deidentify.lexicon import chinese_words as vocabulary
from mulmed.corpus.deidentify.lexicon import word_list
from mulmed.corpus.deidentify.names_zh import SURNAMES, is_name
from mulmed.corpus.deidentify.spans import Span
from mulmed.corpus.deidentify.triggers import Hits, matches

_NUMERALS = "一二三四五六七八九十"
_LETTERS = "abcdefghijklmnopqrstuvwxyz"
#: Literals (see :mod:`.triggers`) where a Chinese hospital ends, an address begins or has its number.
SHAPES_PLACES: dict[str, tuple[str, ...]] = {
    "hospital zh": ("医院", "卫生院", "卫生室", "卫生所", "卫生服务中心", "卫生中心", "诊所", "门诊部", "保健院", "医学中心", "附院", "附一", "附二", "附三", "附四"),
    "address field": ("家庭地址", "联系地址", "现住址", "地址", "住址", "家住", "住在", "户籍"),
    "numbered": tuple(f"{end}{number}" for end in "路街道巷同弄区园村寓组苑里" for number in f"0 {_NUMERALS}")
    + tuple(f"{end}{letter}{block}" for end in "路街道巷园村苑区" for letter in _LETTERS for block in "座栋幢区"),
}  # fmt: skip
#: What a centre or an institute for patients is for.
_CARE = (
    "medical", "health", "care", "cancer", "eye", "heart", "surgery", "surgical", "rehabilitation", "rehab", "trauma", "dental", "diagnostic", "fertility",
    "oncology", "wellness",
)  # fmt: skip
#: Literals of words in English hospitals, addresses, and before the town one lives in.
WORDS_PLACES: dict[str, tuple[str, ...]] = {
    "hospital en": (
        " hospital", " clinic", " infirmary", " nursing home", " polyclinic", " medical college", " healthcare", " health system", " hospice",
        " family practice", " medical group", " sanatorium",
        *(f" {care} {place}" for care in _CARE for place in ("cent", "institut")),
    ),
}  # fmt: skip

# Where the name of a Chinese hospital cannot reach back over.
_BEFORE_HOSPITAL = re.compile(
    r"[^\u4e00-\u9fff0-9A-Za-z]|建议|前往|就诊|上述|今天|昨天|前天|后来|最近|目前|现在|当时|曾经|已经|好像|还是|直接|如果|或者|而且"
    r"|以及|患者|病人|医生|大夫|家属|我们|你们|他们|咱们|自己|[哪那这一几各某多两]家|[很许]多|[另同任每某这那哪]一|一些|各大|最好|看|住院|转院|转入|转诊|检查|治疗"
    r"|[去到在往于或是了的从说由经被与及我你您他她它这某哪该就又再也都先没有]|来(?!宾)|那(?!曲)|(?<![协仁泰永颐太])和(?!平)"
    r"|(?<=[\d一二三四五六七八九十])[年月号日]"
)
_SUFFIX = (
    r"(?:医院|卫生院|卫生室|卫生所|卫生服务中心|卫生中心|诊所|门诊部|保健院|医学中心|附院|附[一二三四]院?)"
)
_HOSPITAL_ZH = re.compile(
    rf"[\u4e00-\u9fff0-9A-Za-z]{{1,24}}?({_SUFFIX})(?:[东西南北新老分总本]院区?|[\u4e00-\u9fff]{{2,4}}院区)?"
)
_NAME_REACH = 24
_IN_HOSPITAL = re.compile("[\u4e00-\u9fff0-9A-Za-z]")
_OWN_NAME = re.compile(
    r"第?[一二三四五六七八九十百\d]+(?:人民|中|临床|附属)?(?=医院|附院)|大学|医学院|学院附属|军区|战区|解放军|武警|附[一二三四]"
)
# Well-known hospitals whose names are not places in the dictionary.
_KNOWN = "协和|同济|湘雅|仁济|瑞金|阜外|安贞|积水潭|天坛|宣武|华西|西京|唐都|齐鲁|鼓楼|红十字|普仁|博爱|友谊|中日|博仁|同仁|长征|长海"
# 营口人民医院, where the dictionary does not know the place.
_BY_KIND = re.compile(
    r"^([\u4e00-\u9fff]{2,4})(?:第[一二三四五六七八九十\d]+)?(?:人民|中心|中医|中医院|妇幼)$"
)
_NOT_A_PLACE = re.compile(
    "当地|本地|外地|附近|其他|别的|所在|上级|市级|县级|省级|区级|三甲|二甲|甲等|正规|专业|公立|私立|部队|社区|地区|决定|选择|可以"
    "|我们|大型|儿童|口腔|肿瘤|急救|体检|康复|治疗|医疗|精神|心理|疾控|血液|咨询|一般|普通|综合|各级|[市县区省州镇乡]$"
)
_NOT_PLACES = re.compile(
    "[中美日韩英德]国|日本|全国|世界|亚洲|欧洲|[本外当]地|[大省县]?城市?|城区|农村|三阳|[市郊]区|地方|乡镇|社区"
)
_ADMIN = re.compile(r"^[\u4e00-\u9fff]{2,4}?(?:街道(?=社区)|(?<!街)(?:省|市|区|县|州|旗)(?=.)|[镇乡](?=.|$))")
#: A clinic called by its doctor: 李莉口腔诊所.
_CLINIC_OF = re.compile(
    r"([\u4e00-\u9fff]{2,3}?)(?:中医|中西医|口腔|牙科|儿科|西医|内科|外科|骨科|针灸|推拿)?诊所"
)
_GENERIC_ADMIN = re.compile(
    r"^(?:本|个|入|进|送进|送|好多|大城|级|至|转至|自治|我|外|全|大|小|各|这|那|某|当地|附近|其他|别的|所在|上级|正规|专业|公立|私立|三甲|二甲|老家|我们|农村)*"
    r"(?:省|市|区|县|州|旗|镇|乡|村|社区|街道)*$"
)

_NAME_EN = r"(?:[A-Z][\w'’&-]*\.?|of|and|de)"
_HOSPITAL_EN = re.compile(
    # No name goes on in the next line, which may be another sender's; the kind of house may stand there.
    rf"(?<![A-Za-z0-9.])((?:{_NAME_EN}[^\S\n]+){{0,4}}{_NAME_EN}\s+)"
    r"(?:Hospitals?|Medical Cent(?:er|re)|Health Cent(?:er|re)|Clinics?|Infirmary|Nursing Home|Polyclinic|Medical College"
    rf"|(?P<weak>(?:{'|'.join(map(str.capitalize, _CARE))}) (?:Cent(?:er|re)|Institute)|Healthcare|Health System|Hospice|Family Practice|Medical Group|Sanatorium))\b"
    r"(?! (?:staff|visit|stay|bed|admission))"
)
_HOSPITAL_OF = re.compile(
    r"Hospital (?:of|for) (?:the )?(?:Saint|St\.?|San|Our|Holy|University of|Good) [A-Z][\w'’-]*(?:(?: of)? [A-Z][\w'’-]*)?"
)
_JOINTS = ("of", "in", "for", "and", "the")
_OF = ("university", "college", "hospital", "clinic")

_NOT_STREET = "我你他她您它在住到去来是于的了家和与这那走过有从经由"
_HAN = rf"(?:(?![{_NOT_STREET}])[\u4e00-\u9fff])"
_STREET = "路|街道?|大道|巷|胡同|弄|里弄|小区|花园|新村|公寓|村|组|苑|里"
_ADDRESS_ZH = re.compile(
    rf"(?:{_HAN}{{2,8}}?(?:省|自治区|特别行政区))?(?:{_HAN}{{2,8}}?(?:市|自治州|地区|盟))?(?:{_HAN}{{1,8}}?(?:区|县|旗|市))?"
    rf"(?:{_HAN}{{1,8}}?(?:镇|乡|街道))?(?:{_HAN}{{1,8}}?(?:{_STREET})){{0,2}}?{_HAN}{{1,6}}?(?:{_STREET})"
    r"(?:\s*[\d一二三四五六七八九十]{1,5}(?:-\d{1,4})?\s*(?:号院?|弄|巷)|[A-Za-z][座栋幢区])"
    r"(?:[\d一二三四五六七八九十A-Za-z]{1,5}(?:-\d{1,4})*\s*(?:号楼|号|栋|幢|座|单元|楼|层|室|户))*"
)
#: What no Chinese address is without: the end of a street's name and a number.
_NUMBERED = re.compile(
    r"[路街道巷同弄区园村寓组苑里](?:\s*[\d一二三四五六七八九十]{1,5}(?:-\d{1,4})?\s*[号弄巷]|[A-Za-z][座栋幢区])"
)
_ADDRESS_FIELD_ZH = re.compile(
    r"(?:家庭地址|联系地址|现住址|地址|住址|家住在?|住在|户籍)(?:[\s:：]|是|为)*"
    r"((?!一)(?:(?![的个])[\u4e00-\u9fff0-9A-Za-z-]){2,30}?(?:(?:路|街道?|大道|镇|乡|村|小区|花园|苑|弄|巷)[\u4e00-\u9fff]{0,2}?"
    r"(?:[\dA-Za-z一二三四五六七八九十-]{1,6}(?:号楼|号|栋|幢|座|单元|楼|层|室|户|组))*))(?=[，。,；;\s！!？?]|$)"
)


def find_hospitals_zh(text: str, hits: Hits) -> Iterator[Span]:
    """Chinese hospitals with a proper name; 当地医院, 正规医院, 县医院 and 去医院 are none."""
    if "hospital zh" not in hits:
        return
    for match in _hospitals(text, hits["hospital zh"]):
        # The name begins behind the last of the words that it cannot reach back over.
        words = list(_BEFORE_HOSPITAL.finditer(text, match.start(), match.end()))
        start = next(
            (
                word.end()
                for word in reversed(words)
                if word.end() <= match.start(1)
                and (text[word.start()] in "年月号日" or not _in_place(text, word.start()))
            ),
            match.start(),
        )
        offset = _proper(text[start : match.start(1)], text[start : match.end()])
        if offset is not None:
            yield Span(start + offset, match.end(), "HOSPITAL")


def _hospitals(text: str, suffixes: Sequence[int]) -> Iterator[re.Match[str]]:
    """``_HOSPITAL_ZH.finditer(text)``, looked for before the places where a suffix begins only."""
    done = 0
    for suffix in suffixes:
        start = suffix
        while start > max(done, suffix - _NAME_REACH) and _IN_HOSPITAL.match(text, start - 1):
            start -= 1
        if done <= start < suffix and (match := _HOSPITAL_ZH.match(text, start)):
            yield match
            done = match.end()


@lru_cache(maxsize=1 << 15)
def _is_place(word: str) -> bool:
    known = word in word_list("places_zh") or vocabulary().get(word) in ("ns", "nt")
    return known and not _NOT_PLACES.fullmatch(word)


def _in_place(text: str, at: int) -> bool:
    """Whether the character at ``at`` is of the name of a place: the 都 of 成都 ends no clause."""
    return "\u4e00" <= text[at] <= "\u9fff" and any(
        _is_place(text[start : start + length])
        for length in (2, 3, 4)
        for start in range(max(0, at - length + 1), at + 1)
        if start + length <= len(text)
    )


@lru_cache(maxsize=1 << 15)
def _proper(core: str, name: str) -> int | None:
    """Where the proper name begins in what stands before 医院; ``None`` where there is none."""
    if _GENERIC_ADMIN.match(core):
        return None
    for offset in range(len(core)):
        clinic = _CLINIC_OF.fullmatch(name, offset)
        if clinic and name[offset] in SURNAMES and is_name(clinic[1]):
            return offset
    for offset in range(len(core) - 1):
        places = [n for n in (4, 3, 2) if offset + n <= len(core) and _is_place(core[offset : offset + n])]
        if places:
            # The dictionary knows 文县 and 南街, not 崇文县 and 孝南街道.
            part = offset == 1 and places == [2] and core[2] in "县市区镇州街"
            admin = _ADMIN.match(core)
            before = admin and admin.end() <= offset and not _GENERIC_ADMIN.match(admin[0])
            return 0 if part or before else offset
    for offset in range(len(core)):
        admin = _ADMIN.match(core[offset:])
        if admin and not _GENERIC_ADMIN.match(admin[0]):
            return offset
        if re.match(_KNOWN, core[offset:]):
            return offset
        if own := _OWN_NAME.match(name[offset:]):
            # 大连医科|大学附属..., 大连|第三医院: what stands before is of the name, a place the dictionary lacks.
            reach = 8 if own[0].startswith(("大学", "医学院", "学院")) else 4
            return max(0, offset - reach)
    kind = _BY_KIND.match(core)
    return 0 if kind and not _NOT_A_PLACE.search(kind[1]) else None


def find_hospitals_en(text: str, hits: Hits) -> Iterator[Span]:
    """English hospitals and clinics with a proper name before the word."""
    if "hospital en" not in hits:
        return
    ends = [start for start in hits["hospital en"] if text[start].isupper()]
    named = [0]  # where those called after somebody end: the next one's name begins no earlier
    for match in matches(_HOSPITAL_OF, text, ends):
        yield Span(*match.span(), "HOSPITAL")
        named.append(match.end())
    generic, common = word_list("generic_hospital_en"), word_list("words_en")
    for match in (
        match
        for at in ends
        for match in _HOSPITAL_EN.finditer(
            text, max(at - 60, *(end for end in named if end <= at), 0), at + 30
        )
    ):
        words = list(re.finditer(r"\S+", match[1]))
        low = [w[0].strip(".,'’").lower() for w in words]
        first = 0
        while (
            first < len(low)
            and low[first] in generic
            and not (low[first] in _OF and low[first + 1 : first + 2] == ["of"])
        ):
            first += 1
        if match["weak"]:
            # A health system or a cancer centre is one's own only by a word right before it that is nothing else.
            first = max(
                [
                    first,
                    *(
                        at + 1
                        for at, word in enumerate(low)
                        if word in _JOINTS and low[at - 1 : at] != ["university"]
                    ),
                ]
            )
        if any(w not in generic and not (match["weak"] and w in common) for w in low[first:]):
            yield Span(match.start(1) + words[first].start(), match.end(), "HOSPITAL")


def find_addresses_zh(text: str, hits: Hits) -> Iterator[Span]:
    """Chinese street addresses: a street and a number at least, or what follows the word for address."""
    for match in matches(_ADDRESS_FIELD_ZH, text, hits.get("address field", ())):
        yield Span(*match.span(1), "ADDRESS")
    if "numbered" in hits and _NUMBERED.search(text):
        for match in _ADDRESS_ZH.finditer(text):
            yield Span(*match.span(), "ADDRESS")
