"""What to show a person next, from what many people did and from what the things say of themselves.

    items.csv    item_id,title,description,...          what there is
    events.csv   user_id,item_id[,rating][,timestamp]   who read, bought or rated what, and when

Every system here is a matrix over items: what one has seen adds its row to the score of each other item. So an event
that arrives counts at once, nothing is learnt anew, and "because you read A" is the entry of A in that sum.

    popularity   how many have seen it                    nobody's taste, and hard to beat on little data
    neighbours   seen by the same people (cosine)         Sarwar et al. 2001; shrunk where few have
    ease         the best linear item-to-item weights     Steck 2019, arXiv:1905.03375; closed form
    text         alike in words or in an embed model      the only one that knows items nobody has seen
    rank         a cross-encoder over the best            slow and optional

What the mixture weighs is chosen on validation events, the report is on test events, and what is served has learnt from
all of them.
"""
