"""Words of courtesy, of comfort and of the clinic, in English and Chinese; words too common to count.

Our own lists, made for answers to patients. Courtesy addresses the patient politely; comfort takes up the
patient's feelings (the paper's "understand", "concern", "hope", "help"); the clinical list holds the general
terms of a consultation, no diseases or drugs, so that it measures register and not the topic. A new language
needs its entry in each of the two tables.
"""

from __future__ import annotations

from typing import Literal

Category = Literal["courtesy", "comfort", "clinical"]
CATEGORIES: dict[Category, str] = {
    "courtesy": "greetings, thanks, requests and apologies",
    "comfort": "reassurance, understanding, encouragement and good wishes",
    "clinical": "general terms of a consultation: examination, diagnosis, treatment",
}

#: Phrases, separated by commas. English ones match whole words, Chinese ones anywhere.
LEXICON: dict[str, dict[Category, str]] = {
    "en": {
        "courtesy": (
            "hello, hi, good morning, good afternoon, good evening, dear, welcome, thank you, thanks, "
            "thankful, grateful, appreciate, please, kindly, feel free, you may wish to, if you like, "
            "with pleasure, my pleasure, glad to help, happy to help, sorry, apologise, apologize, "
            "apologies, excuse me, regards"
        ),
        "comfort": (
            "don't worry, do not worry, no need to worry, need not worry, nothing to worry about, "
            "not to worry, try not to worry, don't panic, do not panic, no need to panic, "
            "don't be afraid, stay calm, understand, understandable, understandably, understanding, "
            "i can imagine, concern, concerns, concerned, hope, hopefully, wish you, best wishes, "
            "all the best, help, helps, helpful, support, supportive, comfort, comforting, reassure, "
            "reassured, reassuring, rest assured, encourage, encouraging, you are not alone, "
            "you're not alone, take care, take heart, patience, get well soon, get better soon, "
            "speedy recovery, quick recovery, feel better, it will pass, good news"
        ),
        "clinical": (
            "treatment, treatments, treat, treated, diagnosis, diagnose, diagnosed, symptom, symptoms, "
            "sign, signs, disease, diseases, disorder, condition, syndrome, infection, inflammation, "
            "chronic, acute, severe, medicine, medicines, medication, medications, drug, drugs, dose, "
            "dosage, tablet, tablets, prescription, prescribe, prescribed, therapy, surgery, surgical, "
            "operation, test, tests, scan, x-ray, ultrasound, biopsy, examination, examine, hospital, "
            "clinic, clinical, doctor, physician, specialist, consult, consultation, patient, patients, "
            "prognosis, side effect, side effects, follow-up"
        ),
    },
    "zh": {
        "courtesy": (
            "您好, 你好, 您, 早上好, 下午好, 晚上好, 请问, 请教, 请及时, 请注意, 请按, 请到, 请去, 请先, "
            "请尽快, 麻烦你, 谢谢, 感谢, 多谢, 不客气, 不用谢, 欢迎, 抱歉, 对不起, 不好意思, 打扰"
        ),
        "comfort": (
            "放心, 安心, 别担心, 不用担心, 不必担心, 不要担心, 无需担心, 别着急, 不用着急, 不要着急, "
            "别紧张, 不用紧张, 不要紧张, 不必紧张, 别害怕, 不要害怕, 不用怕, 不要怕, 不必恐慌, 不要恐慌, "
            "没关系, 不要紧, 别难过, 理解, 体谅, 心情, 辛苦, 关心, 关怀, 希望, 帮助, 支持, 陪伴, 鼓励, "
            "加油, 相信, 信心, 耐心, 乐观, 放松, 祝愿, 祝你, 祝您, 祝福, 早日康复, 早日恢复, 身体健康, 保重, "
            "平安, 会好起来"
        ),
        "clinical": (
            "治疗, 诊断, 确诊, 症状, 体征, 疾病, 病情, 病因, 病变, 感染, 炎症, 慢性, 急性, 严重, 药物, "
            "用药, 服药, 口服, 剂量, 处方, 注射, 输液, 手术, 术后, 检查, 检验, 化验, 复查, 复诊, 体检, "
            "血常规, 拍片, 超声, 活检, 医院, 门诊, 住院, 急诊, 科室, 医生, 医师, 专科, 专家, 就诊, 就医, "
            "咨询, 患者, 病人, 预后, 副作用, 不良反应"
        ),
    },
}

#: Function words left out of the lists of frequent words, separated by spaces. Words of one Chinese character
#: and numbers are left out besides.
FUNCTION_WORDS: dict[str, str] = {
    "en": (
        "a about after again all also am an and any are as at be because been before being both but by "
        "can cannot could did do does doing don't down each else etc even every for from further get had "
        "has have having he her here hers him his how however i i'd i'll i'm i've if in into is isn't it "
        "it's its just let like may me might more most much must my no nor not now of off on once one "
        "only or other our out over own per same shall she should since so some such than that that's "
        "the their them then there these they this those through to too under until up upon us very was "
        "we were what when where whether which while who whom why will with within without would yes yet "
        "you you'd you'll you're you've your yours"
    ),
    "zh": (
        "一个 一些 一下 一般 一定 一种 一样 一直 不是 不能 不会 不要 不同 也是 也会 之后 之前 之间 为了 "
        "什么 他们 以及 以后 以上 以下 但是 你们 使用 其他 其中 出现 包括 可以 可能 只有 只是 同时 各种 "
        "因为 因此 如果 如何 就是 已经 并且 应该 引起 怎么 怎样 情况 我们 或者 所以 所有 所致 才能 这个 "
        "这些 这样 这种 还是 还有 进行 那么 那个 通过 需要 非常 导致 很多 是否 比较 没有 然后 目前 由于 "
        "自己 虽然 许多 造成 都是 问题 主要 以免 而且 能够 根据 时候 有些 有时 之类 当然 不过 另外 例如 "
        "比如 此外 对于 关于"
    ),
}
