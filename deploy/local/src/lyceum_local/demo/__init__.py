"""The demo: a hospital group with a few hundred people learns for real, through the public APIs alone.

staff      who works there (pure)                     hris       its two HR systems, as they speak to identity
lessons    what our courses ask (pure)                publishing the author's and the administrator's work
learners   how each person learns (pure)              playing    what a learner does in the player and the quiz
numbers    what the dashboards say in the end         play       the whole story, in order
"""
