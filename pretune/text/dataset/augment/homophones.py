"""Homophones: Chinese characters that sound alike, as who types pinyin mistakes them.

Our own table of common characters by syllable and tone; a character is in one group, that of its usual reading.
"""

from __future__ import annotations

import random
from functools import cache, partial

from pydantic import Field

from pretune.text.dataset.augment.augment import Augment, Work, each_text
from pretune.text.dataset.example import Example

GROUPS = """
ba1 八吧巴疤 ban4 半办伴扮 bao3 宝保饱堡 bao4 报抱暴爆 bei4 被备背倍辈 bi3 比笔彼 bi4 必毕闭避币壁
bian4 变便遍辩 biao3 表 bing4 并病 bo1 波播拨玻 bu4 不步部布 cai2 才材财裁 cai3 彩采踩 can1 参餐
cao3 草 ceng2 层曾 cha2 查茶察 chang2 常长场尝 chang3 厂敞 chang4 唱畅倡 che4 彻撤 chen2 陈晨沉尘
cheng2 成城程承诚乘 chi2 持迟池 chong2 虫崇 chu1 出初 chu3 处楚础 chuan1 穿川 chuan2 船传 ci2 词辞磁
ci4 次刺 cong2 从丛 da2 答达 dai4 代带待袋戴 dan1 单担丹 dan4 但蛋淡弹 dao3 岛倒导 dao4 到道盗 de 的地得
deng1 灯登 di1 低滴 di4 第弟帝递 dian3 点典 dian4 店电垫殿 diao4 掉调钓 ding1 丁盯钉 ding4 定订 dong1 东冬
dong4 动洞冻 du2 读毒独 du4 度渡肚 duan4 段断锻 dui4 对队 duo1 多 er2 儿而 fa1 发 fan2 烦凡繁 fan4 饭犯范
fang1 方芳 fang2 房防 fang3 访仿纺 fei1 非飞啡 fei4 费废肺 fen1 分纷芬 feng1 风封丰峰锋 fu2 服福符浮扶
fu4 父付负富副附复妇 gai4 盖概 gan1 干甘 gan3 感敢赶 gang1 刚钢缸 gao1 高糕 gao4 告 ge1 哥歌割 ge4 各个
gong1 工公功攻供宫 gou4 够购构 gu1 姑孤估 gu3 古骨鼓股谷 gu4 故顾固 guan1 关官观 guan3 管馆 guan4 惯灌
guang1 光 gui4 贵柜 guo2 国 hai2 还孩 hao4 号浩耗 he2 和河何合盒核 hei1 黑 hou4 后候厚 hu2 湖胡壶糊
hu4 户护互 hua1 花 hua4 画话化划 huan4 换患 huang2 黄皇煌 hui2 回 hui4 会汇惠 huo3 火伙 huo4 或货获
ji1 机鸡积基激击 ji2 及级极急集 ji3 几己挤 ji4 记计技季继 jia1 家加佳 jia4 价架驾嫁 jian1 间坚尖肩
jian3 简减检剪 jian4 见件建健剑箭 jiang1 江将姜 jiao1 交教胶焦 jiao3 脚角饺 jie1 街接阶 jie2 节结杰洁
jie4 界借介戒 jin1 今金斤 jin4 近进尽 jing1 经京精惊 jing3 井景警 jing4 静净镜竟 jiu3 九久酒 jiu4 就旧救舅
ju2 局菊 ju4 句剧具巨聚据 jue2 觉决绝 kai1 开 ke1 科颗棵 ke4 客课刻克 kong1 空 ku4 库裤酷 kuai4 快块筷
lai2 来 lan2 蓝兰拦栏篮 lao3 老 li2 离梨 li3 里李理礼 li4 力历立利丽例 lian2 连联莲 lian4 练恋炼 liang2 良凉粮
liang4 亮辆量 lin2 林临邻 ling2 零铃灵龄 ling4 另令 liu2 流留刘 liu4 六 lou2 楼 lu4 路录鹿露 ma3 马码
mai4 卖迈 man4 慢漫 mao2 毛矛 mao4 冒帽貌 mei2 没眉梅煤 mei3 美每 men2 门 mi3 米 mi4 密秘蜜 mian4 面
min2 民 ming2 明名鸣 mo4 末莫墨默 mu4 木目牧幕墓 na4 那纳 nan2 南男难 nian2 年 pai2 牌排 pang2 旁 peng2 朋棚
pi2 皮疲 pian4 片骗 ping2 平瓶评苹 pu3 普谱 qi1 七妻期漆 qi2 其奇骑旗齐 qi3 起企启 qi4 气汽器弃 qian1 千签铅
qian2 前钱 qiang2 强墙 qiao2 桥 qin1 亲侵 qing1 青轻清 qing2 情晴 qing3 请 qiu2 求球 qu4 去趣 quan2 全权泉
ren4 认任 rong2 容荣 ru2 如 san4 散 shan1 山 shang1 商伤 shao3 少 she4 社设射舍 shen1 身深申伸 shen2 神什
sheng1 生声升 sheng4 胜剩圣 shi1 师失诗湿狮 shi2 时十石实食拾 shi3 使史始 shi4 是事市式试视室世势适
shou1 收 shou3 手首守 shou4 受瘦授售 shu1 书输舒叔 shu3 属鼠暑 shu4 树数术束 shui4 睡税 si1 思司丝私 si4 四寺似
song4 送宋颂 su4 速素诉 sui4 岁碎 ta1 他她它 tai4 太态泰 tan2 谈谭 tang1 汤 tang2 糖堂 te4 特 ti2 题提 tian1 天添
tian2 甜田 tiao2 条 ting1 听厅 tong2 同童铜 tou2 头投 tu2 图徒途 wan2 完玩 wan3 晚碗 wang3 网往 wang4 望忘旺
wei1 危威微 wei2 围为唯 wei4 位未味喂卫 wen2 文闻 wu1 屋污 wu3 五午舞武 wu4 物务误雾 xi1 西希息惜 xi2 习席
xi3 洗喜 xi4 细系戏 xia4 下夏吓 xian1 先鲜 xian2 闲咸 xian4 现线县限 xiang1 香乡箱 xiang3 想响 xiang4 向象像项
xiao1 消宵 xiao3 小晓 xiao4 笑校效孝 xie2 鞋斜 xie4 谢 xin1 心新辛 xing1 星兴 xing2 行形 xing4 性姓幸 xiu1 修休
xu1 需须 xue2 学 yan2 言盐严颜 yan3 眼演 yan4 燕验 yang2 羊阳洋 yang4 样 yao4 要药 ye4 业叶页夜 yi1 一医衣依
yi3 以已 yi4 意义亿艺议易 yin1 音因阴 yin2 银 ying1 应英 ying2 营迎赢 yong3 永勇泳 you2 由油游 you3 有友 you4 又右
yu2 鱼于余 yu3 雨语 yu4 玉遇育预 yuan2 员原园圆元 yuan4 院愿 yue4 月越 yun4 运 zai4 在再 zao3 早澡 zao4 造
zhan4 站战 zhang1 张章 zhao4 照 zhe4 这 zhen1 真针珍 zhen4 阵镇振 zheng1 争征 zheng4 正证政 zhi1 知之只支枝汁
zhi2 直值职 zhi3 纸指止 zhi4 志治制质 zhong1 中钟终 zhong4 众 zhou1 周州洲 zhu1 猪珠 zhu3 主煮 zhu4 住注助祝
zhuan1 专砖 zhuang1 装庄 zi1 资姿 zi3 子紫 zi4 字自 zong3 总 zu2 足族 zuo3 左 zuo4 做作坐座
"""


class Homophones(Augment):
    """Chinese characters become others that sound alike."""

    kind: str = "homophones"
    share: float = Field(default=0.05, gt=0, le=1)
    """Share of the characters with a homophone that are changed, at least one of each text."""

    def changed(self, work: Work) -> list[Example]:
        return each_text(work, partial(misheard, share=self.share))


def misheard(text: str, share: float, rng: random.Random) -> str:
    """The text with `share` of its characters replaced by homophones, at least one where there is one."""
    places = [k for k, c in enumerate(text) if homophones_of(c)]
    letters = list(text)
    for k in rng.sample(places, min(len(places), max(1, round(share * len(places))))):
        letters[k] = rng.choice(homophones_of(letters[k]))
    return "".join(letters)


def homophones_of(character: str) -> str:
    """The other characters of its group; "" for one that is in none."""
    return _table().get(character, "")


@cache
def _table() -> dict[str, str]:
    groups = GROUPS.split()[1::2]
    return {c: group.replace(c, "") for group in groups for c in group if len(group) > 1}
