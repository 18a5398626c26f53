"""Addresses outside China: streets of English-speaking countries, India and Europe, units, post boxes, towns with their postcode.

A street by itself needs a number and a word that says street. Where something else tells that an address stands here (a
unit, a postcode, a word such as "address") a number, a name and a number do.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from mulmed.corpus.deidentify.lexicon import word_list
from mulmed.corpus.deidentify.names_en_listed import kind_of
from mulmed.corpus.deidentify.spans import Span
from mulmed.corpus.deidentify.triggers import Hits, matches

#: What streets are called in English (United States Postal Service, Publication 28, appendix C1; India's in the last line).
_TYPES = (
    "Street|Avenue|Road|Lane|Drive|Boulevard|Court|Place|Terrace|Square|Highway|Crescent|Close|Way|Parkway|Row|Gardens|Trail|Crest|Mews|Alley|Freeway"
    "|Valleys?|Circles?|Bypass|Causeway|Expressway|Heights|Hollow|Junctions?|Knolls?|Landing|Manors?|Meadows?|Motorway|Orchard|Overpass|Parkways|Pike"
    "|Plaza|Ridges?|Shoals?|Shores?|Skyway|Spurs?|Squares|Stravenue|Throughway|Trace|Trafficway|Turnpike|Underpass|Viaduct|Villages?|Groves?|Estates?"
    "|Coves?|Crossing|Glens?|Harbors?|Islands?|Isle|Roads|Lanes|Drives|Courts|Streets|Rapids|Ferry|Fords?|Dale|Prairie|Ranch|Bayou|Canyon|Creek|Hills?|Cliffs?"
    "|Nagar|Marg|Colony|Enclave|Chowk|Vihar|Ganj|Zila|Road|St\\.?|Ave\\.?|Rd\\.?|Ln\\.?|Blvd\\.?|Dr\\.|Str\\.?"
)
#: Those that are more often something else: with somebody's name before them only.
_WEAK = (
    "Annex|Arcade|Beach|Bend|Bluffs?|Bottom|Branch|Bridge|Brooks?|Burgs?|Camp|Cape|Centers?|Club|Common|Corners?|Course|Crossroads?|Curve|Dam|Divide|Extensions?"
    "|Falls?|Fields?|Flats?|Forest|Forges?|Forks?|Fort|Gateway|Greens?|Haven|Inlet|Keys?|Lakes?|Land|Lights?|Loaf|Locks?|Lodge|Loop|Mall|Mills?|Mission"
    "|Mount|Mountains?|Neck|Oval|Parks?|Pass|Passage|Path|Pines?|Plains?|Points?|Ports?|Radial|Ramp|Rest|River|Route|Run|Springs?|Station|Stream|Summit|Track"
    "|Tunnel|Unions?|Views?|Ville|Vista|Walks?|Wall|Wells?"
)
#: Words of Europe that streets begin with, and that they end with, of a piece with the name or behind it.
_BEGINS = (
    "rue", "avenue", "boulevard", "chemin", "impasse", "quai", "allée", "place", "via", "viale", "piazza", "corso", "vicolo", "calle", "c/", "avenida", "avda.",
    "paseo", "plaza", "carrer", "camino", "rua", "rúa", "travessa", "praça", "estrada", "ul.", "ulica", "trg", "strada", "náměstí", "nám.", "λεωφόρος", "λ.", "οδός",
)  # fmt: skip
_ENDS = (
    "strasse", "straße", "str.", "gasse", "platz", "weg", "allee", "straat", "laan", "plein", "gracht", "kade", "dijk", "gatan", "vägen", "gränd", "gata", "veien",
    "vei", "veg", "gade", "vej", "stræde", "straede", "katu", "ntie", "nkuja", "braut", "vegur", "stræti", "straeti", "utca", "út", "tér", "körút", "rkp.", "gate",
    "ulice", "třída", "tänav",
)  # fmt: skip


def _cased(word: str) -> set[str]:
    """A literal as the look for shapes has it: ASCII in lower case, other letters as they stand in the text."""
    return {
        word,
        word[0].upper() + word[1:] if not word[0].isascii() else word,
        "".join(c if c.isascii() else c.upper() for c in word),
    }


_NUMBER_BEHIND = (
    " is at",
    " meet me at",
    " meet you at",
    " return to",
    " arrived at",
    " sent to",
    " off at",
    " taxi to",
)
#: Literals of words (see :mod:`.triggers`) and of shapes.
WORDS_STREETS: dict[str, tuple[str, ...]] = {
    "street": tuple(
        f" {form.lower()} "
        for kind in f"{_TYPES}|{_WEAK}".replace("\\.?", "").replace("\\.", "").split("|")
        for form in ((kind[:-2], kind[:-1]) if kind.endswith("?") else (kind,))
    ),
    "box": (" po box", " p o box", " p o  box", " p  o box", " p  o  box", " po  box", " pobox", " box ", " apo ", " fpo ", " dpo "),
    "unit": (" apt ", " apartment ", " suite ", " ste "),
    "begun": (*(f" {word} " for word in _BEGINS if word.isascii() and word.isalpha()), " ul ", " avda "),
    "corner": (" corner of ",),
    "house": (" h no ", " h  no ", " d no ", " d  no ", " house no ", " plot no ", " flat no ", " door no "),
    "living": (
        *(
            f" {cue} {where} "
            for cue in (
                "live", "lives", "lived", "living", "reside", "resides", "resided", "residing", "stay", "stays", "stayed", "staying", "located",
                "office is",
            )
            for where in ("in", "at")
        ),
        " address",
    ),
    "at number": (*_NUMBER_BEHIND, " address"),
}  # fmt: skip
SHAPES_STREETS: dict[str, tuple[str, ...]] = {
    "begun": tuple(
        f"{form}{' ' if form[-1] != '/' else ''}"
        for word in _BEGINS
        for form in _cased(word)
        if not (word.isascii() and word.isalpha())
    ),
    "ended": tuple(f"{form} 0" for word in _ENDS for form in _cased(word)),
    "postcode": (" 0000", " 000 00", " 00-000"),
}

#: A capitalised word, or an abbreviation with its point.
_CAP = r"(?:[^\W\d_a-z][^\W\d_]{0,2}\.|[^\W\d_a-z][^\W\d_]*(?:[.'’-][^\W\d_]+)*)"
_JOIN = r"(?:de|des|du|d['’]|la|le|les|del|della|delle|dei|di|da|do|dos|das|van|von|der|den|het|nad|v|u|y|e|et|in|on|upon|of)"
_STOP = r"(?!(?:I|My|The|And|But|He|She|We|It|Please|Since|For|In|Can|What|Is|They|You|This|So|If|Thanks?|Regards|Mobile|Phone|Desk|Fax|Tel|Email|Age|Name)\b)"
_TOWN = rf"{_STOP}{_CAP}(?:[ ](?:{_JOIN}[ ])?{_STOP}{_CAP}){{0,3}}(?:[ ]\([^)\n]{{2,20}}\))?"
_UNIT = r"(?:[Aa]pt|[Aa]partment|[Ss]uite|[Ss]te|[Uu]nit|[Ff]lat|[Ff]loor|APT|SUITE|UNIT)\.?[ ]?#?[ ]?\d{1,4}[A-Za-z]?(?!\w)"
#: Between the lines of an address, which may be quoted.
_SEP = r"(?:[ \t]*,?[ \t]*\n[>?\t ]*(?:\n[>?\t ]*)?(?:,[ ]?)?|,[ \t]*|[ ])"
_POST = (
    r"(?:\d{5}(?:-\d{4})?|\d{3}[ ]\d{2}|\d{2}-\d{3}|\d{4}-\d{3}|\d{6}|\d{4}(?:[ ][A-Z]{2})?|[A-Z]{1,2}\d[A-Z\d]?[ ]?\d[A-Z]{2}|[A-Z]\d[A-Z][ ]?\d[A-Z]\d)"
    r"(?!\w|[.,]\d|[ ]?(?:%|mg|ml|kg|cm|mm|IU))"
)
_COUNTRY = (
    "United Kingdom|United States|USA|UK|England|Scotland|Wales|Ireland|Canada|Australia|New Zealand|South Africa|India|Austria|Belgium|Brazil|Croatia|Cyprus|Czech Republic"
    "|Denmark|Estonia|Finland|France|Germany|Greece|Greenland(?:er)?|Hungary|Iceland|Italy|Latvia|Lithuania|Luxembourg|Netherlands|Norway|Poland|Portugal|Romania|Slovakia"
    "|Slovenia|Spain|Sweden|Switzerland|Tunisia|Turkey|Uruguay"
)
#: What follows a street: units; then towns up to a postcode or a country, or what commas part.
_TAIL = (
    rf"(?:{_SEP}{_UNIT}){{0,2}}"
    rf"(?:(?:{_SEP}(?:nan|\d{{2}}|{_TOWN})){{0,4}}?(?:{_SEP}|[ ]?-)(?:{_POST}|(?:{_COUNTRY})(?![\w])(?:[ ]\(Greek\))?(?:[ ]{_POST})?)"
    rf"|(?:,\s*{_STOP}[A-Z][a-z]+(?:\s{_STOP}[A-Z][a-z]+)?(?![\w]|[ ][0-9])){{0,2}}(?:,?\s+[A-Z]{{2}}(?![\w]))?)"
)
_NUMBER = r"(?<![\w./-])(?:\d{3,5}[ ])?\d{1,5}[A-Za-z]?(?:/\d{1,4})?,?\s+"
_STREET = re.compile(
    rf"{_NUMBER}(?:(?:North|South|East|West|[NSEW]\.?)\s+)?(?P<name>(?!Supreme|High|District|Federal|Minutes?|Hours?|Days?|Weeks?|Months?|Years?){_CAP}(?:[ ]{_CAP}){{0,3}}?)[ ]"
    rf"(?:(?:{_TYPES})|(?P<weak>{_WEAK}))(?![A-Za-z])(?:[ ](?:{_TYPES}|{_WEAK})(?![A-Za-z]))?{_TAIL}"
)
_WITH_UNIT = re.compile(
    rf"(?:(?<![\w./-])\d{{1,5}}[A-Za-z]?,?(?:[ ](?:{_CAP}|\d{{1,4}}\.?|{_JOIN}|rue|avenue|boulevard|ulica|ul\.|trg|via|avenida)){{1,7}}?{_SEP})?(?=[AaSs]){_UNIT}{_TAIL}"
)
_BEGUN_WORD = "|".join(re.escape(word) for word in _BEGINS if word != "place")
_BEGUN = re.compile(
    rf"(?<![\w./-])(?:(?:\d{{3,5}}[ ])?(?P<before>\d{{1,5}})(?:[ ]?bis)?,?[ ])?(?P<word>(?i:{_BEGUN_WORD}))(?:(?<=/)|(?=[ ]))(?P<name>(?:(?:[ ]{_JOIN}){{0,2}}[ ](?:[dl]['’])?{_CAP}){{1,4}}|(?<=[Rr]ue)(?:[ ]{_JOIN}){{0,2}}[ ][a-z]+)"
    rf"(?:[ ](?P<behind>\d{{1,4}})(?![\w%/]|[.,]\d|[ ](?:mg|ml|mcg|g|kg|cm|mm|[Ii][Uu]|times|days?|weeks?|months?|years?|hours?|hrs?|units?|tablets?)\b)|(?![\w]))(?:{_TAIL})?"
)
_ENDED = re.compile(
    rf"(?<![\w./-])(?:\d{{2,5}}[ ])?(?:[A-Z]\.[ ])?(?:{_CAP}[ ]){{0,2}}(?:{_CAP}[ ]|(?=[^\W\d_a-z])[^\W\d_]{{4,}}?)(?i:{'|'.join(map(re.escape, _ENDS))})[ ]\d{{1,4}}(?:[ ]?[A-Za-z])?(?![\w%/]|[.,]\d|[ ](?:mg|ml|kg|cm))\.?{_TAIL}"
)
_CUE = r"(?:\b(?:is at|meet (?:me|you) at|located at|return to|arrived at|sent to|off at|taxi to)|\baddress(?:es)?\b[^.!?\d\n]{0,40}?(?::|\b(?:is|to|with|are|at)))[\s:]*"
_AT_NUMBER = re.compile(
    rf"(?i:{_CUE})(?P<all>\d{{2,5}}[A-Za-z]?(?P<name>(?:[ ](?:{_CAP}|{_JOIN})){{1,5}}?)[ ]\d{{1,4}}\.?(?![\w%/]|[.,]\d){_TAIL})"
)
_BOX = re.compile(
    r"\bP\.?\s?O\.?\s?Box\s+\d+|\b(?:(?:PSC|CMR|Unit)[ ]\d{3,5},?[ ]Box[ ]\d+\s+)(?:[AFD]PO[ ]A[AEP][ ]\d{5})?|\bUS(?:S|NS|CGC|NV)[ ]\w+\s+[AFD]PO[ ]A[AEP][ ]\d{5}",
    re.IGNORECASE,
)
_CORNER = re.compile(
    rf"[Cc]orner of (?P<both>(?:[\dA-Za-z]{{1,5}}[ ])?{_CAP}(?:[ ](?:{_CAP}|{_JOIN}|\d{{1,4}}))*[ ]and[ ](?:\d{{1,5}}[ ])?{_CAP}(?:[ ](?:{_CAP}|{_JOIN}|\d{{1,4}}))*)"
)
_STREET_WORD = re.compile(rf"\d|\b(?:{_TYPES}|{_WEAK})(?![A-Za-z])")
_HOUSE = re.compile(
    r"(?<![A-Za-z])(?:[HhDd](?:\.\s?|\s)|(?:[Hh]ouse|[Pp]lot|[Ff]lat|[Dd]oor) )[Nn]o\.?\s*:?\s*\d{1,5}[A-Za-z]?(?:[/-]\d{1,4})?"
    rf"(?:{_SEP}{_STOP}{_CAP}(?:[ ]{_STOP}{_CAP}){{0,2}}){{0,3}}(?:[ -]{{1,2}}\d{{6}}(?!\d))?"
)
#: How much behind its literal tells that a pattern begins.
_AHEAD = 120
_DIGIT_RUN = re.compile("[0-9]+")

_COUNTRY_WORD = r"(?:the|a|an|this|that|my|our|your|his|her|India|China|USA|US|UK|America|England|Canada|Australia|Pakistan|Africa|Europe|Asia|United)\b"
_LIVING_AT = re.compile(
    r"\b(?:(?:liv(?:es?|ed|ing)|resid(?:es?|ed|ing)|stay(?:s|ed|ing)?|located|office is) (?:in|at)|address(?: to| is| with)?\s?:?)\s+"
    r"((?:H\.?\s?No\.?\s*)?\d{1,5}[A-Za-z]?(?:/\d{1,4})?[ ,/\n]+[^\W\d_a-z][\w.'’-]*(?:[ ](?:[^\W\d_a-z][\w.'’-]*|\d+))*"
    rf"(?:[ ,]+(?:Apt|Suite|Unit|Flat|Floor)\.?\s?#?\w+){{0,2}}(?:,\s?[^\W\d_a-z][\w]+(?:[ ][^\W\d_a-z]\w+)*){{0,3}}(?:\s\d{{4,6}})?{_TAIL})(?=[\s,.;]|$)"
)
_LIVING = re.compile(
    rf"\b(?:liv(?:es?|ed|ing)|resid(?:es?|ed|ing)) (?:in|at)\s+((?!{_COUNTRY_WORD})[A-Z][a-z]+(?:[ ,]{{1,2}}[A-Z][a-z]+){{0,2}}(?:,\s?[A-Z]{{2}}\b)?)"
)
_STATES = "AL|AK|AZ|AR|CA|CO|CT|DE|FL|GA|HI|ID|IL|IN|IA|KS|KY|LA|ME|MD|MA|MI|MN|MS|MO|MT|NE|NV|NH|NJ|NM|NY|NC|ND|OH|OK|OR|PA|RI|SC|SD|TN|TX|UT|VT|VA|WA|WV|WI|WY|DC|PR"
_POSTCODE = re.compile(
    rf"(?<!\w){_CAP},?[ ](?:{_STATES})[ ](?P<state>\d{{5}}(?:-\d{{4}})?)(?![\w-]|[.,]\d)"
    rf"|\b(?:in|at|from|near|of)[ ](?P<town>{_CAP}(?:[ ](?:{_JOIN}[ ])?{_CAP}){{0,3}})[ ](?P<zip>\d{{5}}(?:-\d{{4}})?|\d{{3}}[ ]\d{{2}}|\d{{2}}-\d{{3}}|\d{{4}}(?:-\d{{3}})?|\d{{6}})"
    r"(?!\w|[.,%/]\d|[ ]?(?:%|mg|ml|kg|cm|mm|IU|patients|people|women|men|cases|children))"
)
_YEAR = re.compile(r"(?:19|20)\d\d")


def find_addresses_en(text: str, hits: Hits) -> Iterator[Span]:
    """Addresses: a street with a number, a unit, a post box, what stands behind "address", and the town one lives in."""
    living = hits.get("living", ())
    for match in matches(_LIVING_AT, text, living):
        yield Span(*match.span(1), "ADDRESS")
    for match in near("house", text, hits):
        yield Span(*match.span(), "ADDRESS")
    for match in near("unit", text, hits):
        yield Span(*match.span(), "ADDRESS")
    if any(text[street].isupper() for street in hits.get("street", ())):
        for match in matches(_STREET, text, (run.start() for run in _DIGIT_RUN.finditer(text))):
            if not match["weak"] or all(kind_of(word) != "word" for word in match["name"].split()):
                yield Span(*match.span(), "ADDRESS")
    for match in near("begun", text, hits):
        if (match["before"] or match["behind"]) and _is_street(match):
            yield Span(*match.span(), "ADDRESS")
    for match in near("ended", text, hits):
        yield Span(*match.span(), "ADDRESS")
    for match in near("at number", text, hits):
        if any(kind_of(word) != "word" for word in match["name"].split()):
            yield Span(*match.span("all"), "ADDRESS")
    for match in near("box", text, hits):
        yield Span(*match.span(), "ADDRESS")
    for match in near("corner", text, hits):
        if _STREET_WORD.search(match["both"]):
            yield Span(*match.span(), "ADDRESS")
    for match in matches(_LIVING, text, living):
        yield Span(*match.span(1), "ADDRESS")


def find_postcodes(text: str, hits: Hits) -> Iterator[Span]:
    """Postcodes behind a town: "in Bjert 6091", "Springfield, IL 62704". A number that can be a year is none."""
    for match in near("postcode", text, hits):
        first = (match["town"] or "").split(" ")[0].strip(".").lower()
        known = (
            first in word_list("words_en")
            or first in word_list("drugs_en")
            or _YEAR.fullmatch(match["zip"] or "")
        )
        if match["state"] or not known:
            yield Span(*match.span("state" if match["state"] else "zip"), "ZIP")


def _is_street(match: re.Match[str]) -> bool:
    """Whether a word of another language than English calls a street here: via is a word of English, too."""
    words = match["name"].split()
    word = match["word"].lower()
    if word in ("avenue", "boulevard", "plaza", "via", "camino", "corso"):
        # 33 avenue de Provence, Via Tasso 129; not 5 Avenue or via PEG 30.
        told = [w for w in words if w[0].isupper()]
        return (
            bool(told)
            and not match["word"].isupper()
            and (words[0][0].islower() or all(kind_of(w) != "word" and not w.isupper() for w in told))
        )
    return any(kind_of(w) != "word" or w[0].islower() for w in words)


#: For each family of literals the pattern that holds one, and how many characters before it the pattern can begin.
NEAR: dict[str, tuple[re.Pattern[str], int]] = {
    "unit": (_WITH_UNIT, 90),
    "begun": (_BEGUN, 20),
    "ended": (_ENDED, 70),
    "at number": (_AT_NUMBER, 0),
    "box": (_BOX, 40),
    "corner": (_CORNER, 0),
    "house": (_HOUSE, 0),
    "postcode": (_POSTCODE, 90),
}


def near(family: str, text: str, hits: Hits) -> Iterator[re.Match[str]]:
    """``finditer`` of the pattern of a family, looked for around its literals only."""
    if (places := hits.get(family)) is None:
        return
    pattern, reach = NEAR[family]
    if len(places) * (reach + _AHEAD) > len(text):
        yield from pattern.finditer(text)
        return
    done = 0
    for place in places:
        while place >= done and (found := pattern.search(text, max(done, place - reach), place + _AHEAD)):
            # Where it begins is asked of a part of the text, how far it goes of the whole.
            match = pattern.match(text, found.start())
            done = match.end() if match else found.start() + 1
            if match:
                yield match
