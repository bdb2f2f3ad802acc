"""Codes of languages: in names of columns (`en`, `de`), and before wiki links, where `[[fr:Thé]]` leads elsewhere.

Not everything short is one: `[[CSI: Miami]]`, `[[Re:Zero]]` and `[[WP:NPOV]]` are words.
"""

from __future__ import annotations

from pretune.text.read.characters import word_set

ISO_639_1 = word_set("""
    aa ab ae af ak am an ar as av ay az ba be bg bh bi bm bn bo br bs ca ce ch co cr cs cu cv cy da de dv dz
    ee el en eo es et eu fa ff fi fj fo fr fy ga gd gl gn gu gv ha he hi ho hr ht hu hy hz ia id ie ig ii ik
    io is it iu ja jv ka kg ki kj kk kl km kn ko kr ks ku kv kw ky la lb lg li ln lo lt lu lv mg mh mi mk ml
    mn mr ms mt my na nb nd ne ng nl nn no nr nv ny oc oj om or os pa pi pl ps pt qu rm rn ro ru rw sa sc sd
    se sg sh si sk sl sm sn so sq sr ss st su sv sw ta te tg th ti tk tl tn to tr ts tt tw ty ug uk ur uz ve
    vi vo wa wo xh yi yo za zh zu
""")

WIKIPEDIAS = word_set("""
    ace ady als alt ami ang ann anp arc ary arz ast atj avk awa azb ban bar bat-smg bbc bcl bdr be-tarask
    be-x-old bew bjn blk bpy btm bug bxr cbk-zam cdo ceb cho chr chy ckb crh csb dag dga din diq dsb dtp dty
    eml ext fat fiu-vro fon frp frr fur gag gan gcr glk gom gor got gpe gsw guc gur guw hak haw hif hsb hyw
    iba igl ilo inh jam jbo kaa kab kaj kbd kbp kcg kea kge knc koi krc ksh kus lad lbe lez lfn lij lld lmo
    lrc ltg lus lzh lzz mad mai map-bms mdf mhr min mnw mos mrj mui mus mwl myv mzn nah nan nap nds nds-nl new
    nia nov nqo nrm nso nup nyn olo pag pam pap pcd pcm pdc pfl pih pms pnb pnt pwn rki rmy roa-rup roa-tara
    rsk rue rup sah sat scn sco sgs shi shn shy simple skr smn srn stq syl szl szy tay tcy tdd tet tig tly tok
    tpi trv tum tyv udm vec vep vls vro war wuu xal xmf yue zea zgh zh-classical zh-cn zh-min-nan zh-tw zh-yue
    zun
""")
"""Those of languages that have no two letters."""
