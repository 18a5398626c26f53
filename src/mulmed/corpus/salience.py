"""What in a clinical text must not be lost: what each sentence is about, and how many mentions it has.

Drug names are known by the stems of the international nonproprietary names (WHO, "The use of stems in the
selection of INN") and their Chinese counterparts, and by a short list of common ones without a stem.
"""

from __future__ import annotations

import functools
import operator
import re
from collections import Counter
from collections.abc import Iterable
from typing import Literal

from ahocorasick_rs import AhoCorasick, Implementation, MatchKind

#: What a text is for, which decides what matters in it.
Role = Literal["question", "answer", "abstract"]
#: Kinds of mentions that are counted before and after shortening; a sentence with one goes last.
MENTIONS = ("allergy", "dose", "drug", "negation")

_DRUGS_EN = (
    r"\w+(?:cillin|mycin|micin|floxacin|cycline|conazole|prazole|nidazole|sartan|[aeiou]pril|[aeo]lol|vastatin|dipine"
    r"|gliptin|gliflozin|glitazone|formin|glutide|setron|triptan|azepam|azolam|barbital|[ou]caine|[aiou]vir|[iuz]umab"
    r"|ximab|tinib|[po]arin|profen|oxicam|coxib|metasone|[nl]isone|solone|[st]onide|thiazide|semide|phylline|buterol"
    r"|meterol|lukast|atadine|tirizine|oxetine|ipramine|triptyline|[tz]apine|peridone|peridol|promazine|dronate"
    r"|fibrate|pentin|gabalin|tidine|azosin|vudine|dopa|statin)|cef\w+|sulfa\w+|(?:levo)?thyrox\w+"
    r"|aspirin|paracetamol|acetaminophen|tylenol|insulin|warfarin|digoxin|morphine|codeine|tramadol|lithium|steroids?"
    r"|antibiotics?|antidepressants?|vitamins?|quinine|\w*chloroquine|methotrexate|tamoxifen|sertraline|citalopram"
    r"|escitalopram|clopidogrel|\w*cortisone|saline|ointments?|lotions?|syrups?|inhalers?|diclofenac|naproxen|levetiracetam|carbamazepine|phenytoin|valproate|nitroglycerin"
)
_DOSES_EN = r"mg|mcg|µg|μg|g|gm|gms|ml|l|iu|units?|mmol|mmhg|mm|cm|kg|lbs?|°c|°f|°|℃|℉|mg/\w+|g/\w+|mmol/\w+|iu/\w+|ml/\w+"
#: With a share it is a number like others: of patients with a symptom, of a chance to inherit it.
_UNITS_EN = rf"{_DOSES_EN}|%"
_FORMS_EN = r"tabs?|tablets?|capsules?|pills?|drops?|puffs?|spoons?|teaspoons?|times|hourly|daily|bid|tid|qid|od|bd|tds"

# Kinds of content with the words that show them, whole words of lower case.
_ENGLISH: dict[str, str] = {
    "allergy": r"(?!anti)\w*allerg(?!ist|olog|en)\w*|anaphyla\w*|hypersensitiv\w*",
    "dose": rf"\d[\d.,/-]*(?:{_DOSES_EN})|mg|mcg|ml|iu|{_FORMS_EN}",
    "drug": _DRUGS_EN,
    "negation": r"no|not|never|without|denie[sd]|den(?:y|ying)|cannot|nor|none|neither|\w+n['’]t|avoid\w*|stop\w*|negative",
    "ask": r"\S*\?|advi[sc]e|suggest\w*|help|please|wondering|worried",
    "advice": r"recommend\w*|advis\w*|suggest\w*|should|must|need|consult\w*|avoid\w*|take|start|continue|visit|urgent\w*"
    r"|immediately|follow-?up|see|go",
    "number": r"\S*\d\S*|years?|months?|weeks?|days?|hours?|old|male|female",
    "finding": r"diagnos\w*|tumou?rs?|cancer\w*|biops\w*|surg\w+|operat\w*|mri|ct|x-?rays?|ultrasound|ecg|tests?|pregnan\w*"
    r"|positive|scan|history",
    "symptom": r"pain\w*|fevers?|cough\w*|bleed\w*|swell\w*|swollen|rash\w*|vomit\w*|nause\w*|diarrh\w*|dizz\w*|breath\w*"
    r"|headaches?|itch\w*|numb\w*|weak\w*|fatigue|lumps?|discharge|burning",
    "treatment": r"taking|tablets?|medicat\w*|medicines?|dos(?:e|es|age)|prescri\w*|treat\w*|therap\w*",
    "aim": r"aim\w*|investigat\w*|sought|objective\w*|hypothes\w*|whether|here|we",
    "result": r"show\w*|find|findings?|found|demonstrat\w*|conclu\w*|results?|suggest\w*|reveal\w*|indicat\w*|identif\w*"
    r"|increas\w*|decreas\w*|reduc\w*|associat\w*|together|thus|therefore",
}  # fmt: skip

# The same in Chinese, as literals; of those that begin at one place the first here counts.
_CHINESE: dict[str, str] = {
    "reaction": "过敏性休克|过敏性反应",
    # Diseases by their names, drugs against them, what may cause them: none says what the patient does not bear.
    "disease": "过敏原|过敏源|不过敏性|过敏性|过敏鼻炎|过敏哮喘|过敏紫癜|过敏皮炎|过敏结膜炎|抗过敏",
    "allergy": "不过敏|过敏",
    # What only seems to deny.
    "nothing": "不过|不但|不仅|不管|不客气|不好意思|不用谢|不错|无论|未来|未婚|别人|别的",
    "drug": "西林|霉素|沙星|环素|康唑|硝唑|拉唑|沙坦|普利|洛尔|他汀|地平|列汀|列净|列酮|格列|双胍|司琼|曲坦|西泮|唑仑|卡因"
    "|洛韦|那韦|夫定|单抗|替尼|肝素|布洛芬|洛芬|昔康|昔布|米松|泼尼松|可的松|奈德|噻嗪|塞米|茶碱|特罗|司特|他定|利嗪|西汀"
    "|帕明|替林|氮平|哌酮|膦酸|贝特|喷丁|巴林|替丁|唑嗪|头孢|磺胺|阿司匹林|氨基酚|胰岛素|华法林|地高辛|吗啡|可待因|曲马多|激素"
    "|抗生素|消炎药|维生素|奎宁|甲氨蝶呤|氯吡格雷|双氯芬酸|甲状腺素|优甲乐|奥司他韦|连花清瘟|板蓝根|胶囊|颗粒|口服液|滴丸|冲剂|喷剂|膏",
    "negation": "不|没|无|未|否认|禁|勿|别|阴性|避免|停",
    "ask": "?|？|怎么办|怎么|是否|能不能|要不要|请问|什么|吗|帮|如何",
    "advice": "建议|应该|应当|需要|必须|可以|尽快|及时|就诊|就医|复查|检查|注意|服用|口服|多喝|观察",
    "finding": "诊断|确诊|手术|化验|报告|怀孕|病史|阳性|b超|ｂ超|ct|核磁|片子|指标|偏高|偏低",
    "symptom": "痛|疼|发烧|发热|咳|出血|肿|皮疹|呕|恶心|腹泻|头晕|气短|胸闷|痒|麻|乏力|失眠",
    "treatment": "吃药|用药|药|治疗|打针|输液",
    "aim": "目的|旨在|探讨|研究",
    "result": "结果|结论|表明|显示|发现|提示",
}  # fmt: skip
# A dose, or another number. One set of characters begins both, for which a text is searched fastest.
_CHINESE_NUMBERS = re.compile(
    r"[\d一二三四五六七八九十两半几](?:"
    r"((?<=\d)\d*(?:\.\d+)?\s*(?:mg|mcg|µg|μg|g|ml|iu|mmol|mmhg|℃|度|毫克|微克|克|毫升|单位|片|粒|丸|支|袋|滴|次)"
    r"|(?<![几\d])[一二三四五六七八九十两半]*(?:毫克|克|毫升|片|粒|丸|支|袋|滴|次))"
    r"|(?<=\d)\d*|(?<!\d)[一二三四五六七八九十半两几]*(?:年|个?月|周|天))"
)

_KINDS = tuple(_ENGLISH)
_WEIGHTS: dict[Role, dict[str, float]] = {
    "question": {"ask": 3, "number": 2, "finding": 2, "symptom": 1.5, "treatment": 1},
    "answer": {"advice": 3, "treatment": 1.5, "finding": 1.5, "number": 1, "symptom": 1},
    "abstract": {"aim": 2, "result": 3, "number": 1, "finding": 0.5, "symptom": 0.5, "treatment": 0.5},
}
#: What a mention adds to them: most what only the patient knows and what no one may guess. A dose is a number as well,
#: and mostly taken: an allergy weighs more than these together.
_MENTION_WEIGHTS = {"allergy": 8.0, "dose": 4.0, "drug": 1.5, "negation": 1.0}
#: The first sentence says what it is about, the last one usually asks or concludes.
_FIRST, _LAST = 3.0, 3.0

# Both begin with one set of characters, for which a text is searched fastest.
_QUANTITY = re.compile(
    r"\d\d*(?:[.,，:：]\d+)*(?:\s*(?:[-–~～/x×*]|至|到|to)\s*\d+(?:[.,]\d+)*)*\s*"
    rf"(?:(?:{_UNITS_EN}|{_FORMS_EN}|years?|yrs?|months?|weeks?|days?|hours?|hrs?|mins?|minutes?|doses?)(?![a-z])"
    r"|[个多余]?(?:毫克|微克|千克|公斤|克|毫升|升|毫米|厘米|单位|周岁|岁|年|月|日|号|周|天|小时|分钟|片|粒|丸|支|袋|滴|次|度|倍|[/／]))?",
    re.IGNORECASE,
)
_CHINESE_QUANTITY = re.compile(
    r"[一二三四五六七八九十百半两][一二三四五六七八九十百半两]*(?:毫克|克|毫升|岁|年|月|周|天|小时|片|粒|丸|支|袋|滴|次)"
)


def quantities(text: str) -> list[tuple[int, int]]:
    """Where numbers stand with their units ("5 mg", "38.5℃", "120/80 mmHg", "每日3次"): inside none of them may
    a text be cut."""
    spans = [match.span() for match in _QUANTITY.finditer(text)]
    if not text.isascii():
        spans += [match.span() for match in _CHINESE_QUANTITY.finditer(text)]
    return [(_beginning(text, start), end) for start, end in spans]


def _beginning(text: str, start: int) -> int:
    """Where a quantity begins with what belongs before its number: a sign of comparison, "每日"."""
    if text[start - 1 : start] in _SIGNS:
        return start - 1
    return start - 2 if text[max(start - 2, 0) : start] in _EVERY else start


_SIGNS = ("<", ">", "≤", "≥", "±")
_EVERY = ("每日", "每天", "每次", "每周", "一日", "一天", "一次", "每晚")


class _Words(dict[str, int]):
    """The kinds of content that each English word shows, as bits in the order of ``_KINDS``; remembered."""

    def __missing__(self, word: str) -> int:
        if len(self) >= _REMEMBERED:
            self.clear()
        bare = word.lower().strip(".,;:!()[]\"'“”‘’")
        named = bare.strip("?.,;:!()[]\"'“”‘’")
        forms = {named, bare} if named else ()
        bits = 0
        if any(map(_ANY_ENGLISH.fullmatch, forms)):  # most words show nothing
            bits = sum(1 << i for i, kind in enumerate(_ENGLISH_WORDS) if any(map(kind.fullmatch, forms)))
        self[word] = bits
        return bits


_REMEMBERED = 1 << 16
_ENGLISH_WORDS = tuple(re.compile(_ENGLISH[kind]) for kind in _KINDS)
_ANY_ENGLISH = re.compile("|".join(_ENGLISH.values()))
_of_word = _Words().__getitem__


_ALLERGY, _DOSE, _DRUG, _NEGATION = (1 << _KINDS.index(kind) for kind in MENTIONS)
_CHINESE_BITS, _CHINESE_LITERALS = zip(
    *(
        (1 << _KINDS.index(kind) if kind in _KINDS else _ALLERGY * (kind == "reaction"), literal)
        for kind in _CHINESE
        for literal in _CHINESE[kind].split("|")
    ),
    strict=True,
)
_CHINESE_MATCHER = AhoCorasick(
    _CHINESE_LITERALS, matchkind=MatchKind.LeftmostFirst, implementation=Implementation.DFA
)
_NUMBER_BITS = {1: _DOSE, None: 1 << _KINDS.index("number")}


def signs(text: str, language: str) -> list[int]:
    """The kinds of content that each word of a text shows, or each match in Chinese, as bits in the order of
    ``_KINDS``; words that show none are left out. Those of several texts may be put together."""
    if language == "zh":
        found = [bits for _, bits in placed_signs(text)]
        if "%" in text or "％" in text:
            found += [_DOSE for _ in _CHINESE_STRENGTH.finditer(text.lower())]
        return found
    found = [*filter(None, map(_of_word, text.split()))]
    if _ALLERGY in found:
        for _ in _ALLERGIC_DISEASE.finditer(text):
            found.remove(_ALLERGY)
    if "%" in text:
        found += [_DOSE for match in _PERCENTAGE.finditer(text) if _is_strength(text, match)]
    return found


def placed_signs(text: str) -> list[tuple[int, int]]:
    """:func:`signs` of a Chinese text without percentages, and where in the text in lower case each begins; not in order."""
    text = text.lower()
    found = [
        (start, _CHINESE_BITS[i])
        for i, start, _ in _CHINESE_MATCHER.find_matches_as_indexes(text)
        if _CHINESE_BITS[i]
    ]
    found += [(match.start(), _NUMBER_BITS[match.lastindex]) for match in _CHINESE_NUMBERS.finditer(text)]
    return found


# The adjective is a word for itself, with the marks that are no part of one.
_ALLERGIC_DISEASE = re.compile(
    r"(?<!\S)[(\[\"'“‘]*allergic\s+(?:(?:contact|skin|eye|nasal|fungal|bronchial|seasonal|perennial|chronic)\s+){0,2}"
    r"(?:\w+itis|asthma\w*|bronchopulmonary|aspergillosis|eczemas?|purpura|coughs?|urticaria|hay)\b",
    re.IGNORECASE | re.ASCII,  # no letters beyond those that the words' patterns know
)
_PERCENTAGE = re.compile(r"(?<![\w.,-])\d+(?:\.\d+)?\s?%(?!\s+of\b)(?:\s?([A-Za-z-]+))?")
_WORD_BEFORE = re.compile(r"([A-Za-z-]+)\s?\(?$")
_FORM = re.compile(
    r"(?:creams?|ointments?|gels?|lotions?|solutions?|sprays?|shampoos?|foam|paste|suspension|emulsion|powder|syrup"
    r"|infusion|injection|mouthwash|eye|ear|nasal|topical|saline|dextrose|glucose|peroxide|w/[vw])",
    re.IGNORECASE,
)


def _is_strength(text: str, match: re.Match[str]) -> bool:
    """Whether a percentage stands beside the name of a drug or of what one is made into."""
    before = _WORD_BEFORE.search(text, max(match.start() - 40, 0), match.start())
    beside = [match[1], before and before[1]]
    return any(word and (_of_word(word) & _DRUG or _FORM.fullmatch(word)) for word in beside)


# Between a share and a drug stand people or verbs; in a drug's name, before its stem, there are none of them.
_CHINESE_DRUG = (
    rf"(?:(?![的了人者例病患用率为是在和与及有可能会要被需经给吃服减增升降治])[\u4e00-\u9fff]){{0,6}}?"
    rf"(?:{_CHINESE['drug']}|葡萄糖|氯化钠|盐水|氯化钾|碳酸氢钠|双氧水|过氧化氢|乙醇|酒精|碘伏|甘露醇|硼酸|水杨酸|尿素|阿托品"
    r"|滴眼液|滴鼻液|眼药水|凝胶|软膏|乳膏|溶液|洗剂|搽剂|喷雾|注射液)"
)
_CHINESE_STRENGTH = re.compile(
    rf"\d(?:\.\d|\d)*\s?[%％]\s?(?:的\s?)?{_CHINESE_DRUG}"
    rf"|(?:{_CHINESE['drug']}|葡萄糖|氯化钠|盐水)\s?[(（]?\d(?:\.\d|\d)*\s?[%％](?![的以左患病人会能可都])"
)


def urgency(found: Iterable[int], sentence: str) -> int | None:
    """How pressing it is to tell on what a patient said in a sentence: 0 an allergy, 1 a drug or a dose, 2 what
    there is not; ``None``: not at all. A question denies nothing ("是不是", "isn't it").

    Args:
        found: its :func:`signs`.
    """
    shown = functools.reduce(operator.or_, found, 0)
    if shown & _ALLERGY:
        return 0
    if shown & (_DOSE | _DRUG):
        return 1
    return 2 if shown & _NEGATION and not _QUESTION.search(sentence) else None


_QUESTION = re.compile(r"[?？][\s\W]*$|[吗呢][\s。.!！~]*$")


def mentions(found: Iterable[int]) -> dict[str, int]:
    """How many drugs, doses, negations and allergies are among some :func:`signs`, by :data:`MENTIONS`."""
    numbers = Counter(found)
    return {kind: sum(n for bits, n in numbers.items() if bits & bit) for kind, bit in _MENTION_BITS}


_MENTION_BITS = tuple(zip(MENTIONS, (_ALLERGY, _DOSE, _DRUG, _NEGATION), strict=True))


def importance(parts: Iterable[Iterable[int]], role: Role) -> list[tuple[int, float]]:
    """How much each sentence of a text matters: 1 for what goes last, 0 for the rest; then its weight.

    Last go a question's ask, an answer's advice, an abstract's findings, and sentences with negation, drug,
    dose or allergy. The weight is of the kinds of content it has, and of its place.

    Args:
        parts: the :func:`signs` of each.
    """
    scores = [_score(functools.reduce(operator.or_, found, 0), role) for found in parts]
    scores[0] = scores[0][0], scores[0][1] + _FIRST
    scores[-1] = scores[-1][0], scores[-1][1] + _LAST
    return scores


@functools.lru_cache(1 << 16)
def _score(shown: int, role: Role) -> tuple[int, float]:
    """Whether a sentence with these kinds of content goes last, and what it weighs."""
    kinds = {kind for i, kind in enumerate(_KINDS) if shown >> i & 1}
    weights = _WEIGHTS[role]
    essential = {"result", "aim"}
    if role != "abstract":
        essential = {*MENTIONS, max(weights, key=weights.__getitem__)}
    weight = sum(weights.get(kind, _MENTION_WEIGHTS.get(kind, 1.0)) for kind in kinds)
    return int(not essential.isdisjoint(kinds)), weight
