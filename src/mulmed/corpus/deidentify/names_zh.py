"""Chinese names: by title, form field, introduction, relative, or sex and age behind them.

Most Chinese surnames are ordinary words as well (高, 方, 于), so a name needs a cue here; names without
one are left to the model (:mod:`.model`).
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator

from mulmed.corpus.deidentify.lexicon import chinese_words, common_chinese_words
from mulmed.corpus.deidentify.spans import Span
from mulmed.corpus.deidentify.triggers import Hits, matches

# Surnames in the order of the Hundred Family Surnames' commonest, then less common and double ones.
SURNAMES = frozenset(
    "王李张刘陈杨黄赵吴周徐孙马朱胡郭何高林罗郑梁谢宋唐许韩冯邓曹彭曾萧肖田董袁潘于蒋蔡余杜叶程苏魏吕丁任沈"
    "姚卢姜崔钟谭陆汪范金石廖贾夏韦付傅方白邹孟熊秦邱江尹薛闫段雷侯龙史陶黎贺顾毛郝龚邵万钱严覃武戴莫孔向汤"
    "温康施文牛樊葛邢安齐易乔伍庞颜倪庄聂章鲁岳翟殷詹申欧耿关兰焦俞左柳甘祝包宁尚符舒阮柯纪梅童凌毕单季裴霍"
    "涂成苗谷盛曲翁冉骆蓝路游辛靳管柴蒙鲍华喻祁蒲房滕屈饶解牟艾尤阳时穆农司卓古吉缪简车项连芦麦褚娄窦戚岑"
    "景党宫费卜冷晏席卫米柏宗瞿桂全佟应臧闵苟邬边卞姬师和仇栾隋商刁沙荣巫寇桑郎甄丛仲虞敖巩明佘池查麻苑迟"
    "邝官封谈匡鞠惠荆乐冀郁胥南储原栗燕楚鄢劳谌奚皮粟冼蔺楼盘满闻位厉伊仝区郜海阚花权强帅屠豆朴扬"
    "阎闻缑晁逯郄阴蔚盖隗佴阙束幸丰亓初战么曾练揭岩银保佐双庹逄"
    "張劉陳楊黃趙吳孫馬鄭謝許韓馮鄧蕭葉蘇呂盧鍾譚陸範賈韋鄒閆龍陶賀顧龔萬錢嚴湯溫齊喬龐顏倪莊聶魯闕關蘭單畢駱藍遊"
)
DOUBLE = "欧阳|上官|司马|诸葛|夏侯|尉迟|皇甫|东方|令狐|慕容|司徒|公孙|端木|长孙|宇文|南宫|轩辕|独孤|歐陽|司馬"
_FIRST = SURNAMES | {name[0] for name in DOUBLE.split("|")}
_ONE = f"[{''.join(sorted(SURNAMES))}]"
# Surnames that are also function words or everyday words in front of a title: 对于医生, 和医生, 向医生...
_WORDLIKE = frozenset(
    "于时和向查成应解原位全明单连关常任管易满区平强老简路季乐实师官商保初双阴幸么花盘权党边南连席楼左双"
)
# Those and surnames that begin other everyday words, where a given name must not make a word with them.
EVERYDAY = _WORDLIKE | frozenset("安高万方文白左古游华温海金石毛牛冷包米麻皮豆封储战束")
_HAN = "[\u4e00-\u9fff]"
_TITLES = (
    "医生", "大夫", "医师", "主任", "教授", "护士长", "护士", "护师", "院长", "专家", "老师", "药师", "先生", "女士", "小姐", "太太",
    "阿姨", "叔叔", "大爷", "大妈", "师傅", "同志", "博士", "奶奶", "爷爷", "科长", "醫生", "醫師", "主治", "副主任",
)  # fmt: skip
#: Literals (see :mod:`.triggers`) before which the rules look.
SHAPES_ZH: dict[str, tuple[str, ...]] = {
    "titled": _TITLES,
    "field zh": (
        "姓名", "名字", "联系人", "签名", "签字", "收件人", "落款", "主治医", "预约医", "经治医", "家属", "患者", "病人", "我叫", "名叫", "我是",
        "本人", "叫做", "管床", "主刀", "病患", "患儿", "监护人", "委托人", "申请人", "投保人", "责任护士", "接诊", "就诊人", "持卡人", "收款人", "户名",
    ),
    "sexed": ("男", "女"),
    "related": (
        "爱人", "丈夫", "妻子", "老公", "老婆", "儿子", "女儿", "父亲", "母亲", "爸爸", "妈妈", "弟弟", "哥哥", "姐姐", "妹妹", "朋友", "同事", "孩子",
        "宝宝", "家人", "孙子", "孙女", "外婆", "外公", "奶奶", "爷爷", "表姐", "表哥", "邻居", "同学", "小孩", "闺女",
    ),
}  # fmt: skip
_ADDRESSING = ("谢谢", "感谢", "多谢", "请问", "你好", "您好", "请教", "谢了")
_BEFORE = re.compile(
    r"(?:^|[^\u4e00-\u9fffA-Za-z0-9]|谢谢|感谢|多谢|请问|你好|您好|请教|问问|咨询|麻烦|拜托|尊敬的|亲爱的|辛苦|劳烦|打扰|遇到|主治|挂了|看了|找了"
    r"|[是的跟让给请找和与由科院向听按问了吧啊您你那个经叫有去对被从位名见到为在次]|一下|昨天|今天|上次)$"
)
_TITLE = re.compile("|".join(_TITLES))
_NAME = rf"(?:(?:{DOUBLE}){_HAN}{{1,2}}|{_ONE}{_HAN}{{1,2}})"
_NAME_OR_SURNAME = re.compile(rf"(?:{DOUBLE})(?:{_HAN}{{0,2}})|{_ONE}{_HAN}{{0,2}}")
_FIELD = re.compile(
    rf"(?:姓名|名字|联系人|签名|签字|收件人|落款|监护人|委托人|申请人|投保人|就诊人|持卡人|收款人|户名)(?:[\s:：]|是|叫|为)*({_NAME})(?!{_HAN})"
    rf"|(?:主治医[生师]|预约医[生师]|经治医[生师]|管床医[生师]|接诊医[生师]|主刀医[生师]|主刀|责任护士|家属|患者|病人|病患|患儿|医[生师])(?:姓名)?\s*[:：]\s*({_NAME})(?!{_HAN})"
    rf"|(?:我叫|我名叫|名叫|本人叫|叫做|名字叫|我是|本人|我是患者|我是病人)\s*({_NAME})(?=[，。！,.!？?\s；;、（(]|$)"
    rf"|(?:我叫|我名叫|名叫|本人叫|名字叫)\s*({_NAME})"
    rf"|(?:患者|病人|患儿|病患|家属)({_NAME})(?=[，,。.；;：:、\s（(]|的|今|昨|于|$)"
)
_SEXED = re.compile(
    rf"(?:^|(?<=[\s，。；,;：:（(、])|(?<=患者)|(?<=病人)|(?<=患儿))({_NAME})(?=[\s，,、(（/]*(?:男|女)(?:性|孩|，|,|\s|、|/)?[\s，,、/]*\d{{1,3}}\s*(?:岁|周岁|个月|月龄|年))"
)
_RELATED = re.compile(
    "(?:爱人|丈夫|妻子|老公|老婆|儿子|女儿|父亲|母亲|爸爸|妈妈|弟弟|哥哥|姐姐|妹妹|朋友|同事|孩子|宝宝|家人|孙子|孙女|外婆|外公|奶奶|爷爷|表姐|表哥|邻居|同学|小孩|闺女)"
    rf"(?:叫|名叫|是)?((?:{DOUBLE}|{_ONE}){_HAN}{{1,2}})(?=[的，。,.、：:（(\s！!？?；;]|$|今年|昨天|最近|上周|现在|因|在|住院|于)"
)
NOT_GIVEN = frozenset(
    "的了是在有不我你您他她它们这那个和或就也都还很上下去来说会能要可以为到给让请问看找从向对把被等及吗呢吧啊"
    "科院级型类种些告什么怎谁哪时候后前里多少每次只已经过做没无非病药症医生岁男女"
)


def is_name(name: str) -> bool:
    """Whether a surname with nothing or one or two characters behind it can be a name and is no other word."""
    surname = 2 if re.match(DOUBLE, name) else 1
    given = name[surname:]
    if name.startswith("谢谢"):
        return False
    if not given:
        return True
    if not NOT_GIVEN.isdisjoint(given):
        return False
    words = chinese_words()
    # 和年龄 is no name, nor 应按照, nor 高血压 whose head is a word.
    ordinary = [name] + ([given] if name[0] in EVERYDAY else [])
    if len(name) == 3 and surname == 1 and name[:2] in common_chinese_words():
        ordinary.append(name[:2])
    return all(words.get(word, "nr").startswith("nr") for word in ordinary)


def titled(text: str, titles: Iterable[int]) -> list[int]:
    """Those of the places of titles that have the first character of a surname before them."""
    return [title for title in titles if not _FIRST.isdisjoint(text[max(0, title - 5) : title])]


def find_names_zh(text: str, hits: Hits) -> Iterator[Span]:
    """Chinese names that a cue announces; the cue stays."""
    for title in hits.get("titled", ()):
        if not _TITLE.match(text, title):
            continue
        end = title - 1 if text[title - 1 : title] == "副" else title
        for length in (4, 3, 2, 1):
            start = end - length
            if (
                start >= 0
                and text[start] in _FIRST
                and _NAME_OR_SURNAME.fullmatch(text, start, end)
                and _titled(text, start, end)
            ):
                yield Span(start, end, "NAME")
                break
    for match in matches(_FIELD, text, hits.get("field zh", ())):
        yield from _if_name(match)
    for start in hits.get("sexed", ()):
        for match in matches(_SEXED, text, range(max(0, start - 8), start)):
            if match.end() > start:
                break
            yield from _if_name(match)
    for match in matches(_RELATED, text, hits.get("related", ())):
        if match[1][0] not in _WORDLIKE:
            yield from _if_name(match)


def _if_name(match: re.Match[str]) -> Iterator[Span]:
    group = match.lastindex
    assert group is not None
    if is_name(match[group]):
        yield Span(*match.span(group), "NAME")


def _titled(text: str, start: int, end: int) -> bool:
    """Whether what stands before a title is a name there, and not the end of another word."""
    name = text[start:end]
    if not is_name(name):
        return False
    before = text[max(0, start - 3) : start]
    inside = bool(before) and "\u4e00" <= before[-1] <= "\u9fff"
    if before.endswith(_ADDRESSING) or before.endswith(("您", "啊", "吧")):
        # 谢谢医生 thanks no doctor Xie.
        return not (name == "谢" and before.endswith("谢"))
    if _word_across(text, start) or (name[0] == "谢" and before.endswith(("谢", "感", "多"))):
        return False
    if name[0] in "和向时于跟与":
        return len(name) > 2 and not (
            inside and _NAME_OR_SURNAME.fullmatch(name, 1) and name[1] not in "小大"
        )
    if name in _WORDLIKE:
        return not inside
    return (
        not inside or len(name) > 1 or _BEFORE.search(before) is not None or not _followed_word(text, start)
    )


def _followed_word(text: str, start: int) -> bool:
    """Whether the surname at ``start`` is the middle of a word."""
    return any(text[start - k : start + 2] in chinese_words() for k in (1, 2) if start >= k)


def _word_across(text: str, start: int) -> bool:
    """Whether the dictionary has a word that ends with the surname at ``start``: 主任, 对于."""
    words = chinese_words()
    return any(
        not words.get(text[start - k : start + 1], "nr").startswith("nr") for k in (1, 2, 3) if start >= k
    )
