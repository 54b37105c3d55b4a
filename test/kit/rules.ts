// The rules of the protocol that the testing kit can switch off, each from outside: by guards replaced in the
// shipped charts and by wrappers of store, mailbox and driver. Shipped code has no branch for it. How each is
// found is said where it is searched for: exploration/rules.ts, simulation/rules.ts.

/** By number, in order. */
export const rules = ['R1', 'R2', 'R3', 'R4', 'R5', 'R6', 'R7', 'R8', 'R9', 'R11', 'R17', 'R18'] as const
export type Rule = (typeof rules)[number]

/** What each rule says, in a few words. */
export const ruleNames: { readonly [R in Rule]: string } = {
  R1: 'a finish compares the claim',
  R2: 'a claim carries its incarnation',
  R3: 'queued rows are rung again',
  R4: 'the row, not the message, says what to do',
  R5: 'a node declared down starts anew',
  R6: 'cleanup_done is swapped for the incarnation seen',
  R7: 'every change is one compare-and-swap',
  R8: 'a node fences itself before others clean',
  R9: 'a full mailbox drops, a send never waits',
  R11: 'one life a host',
  R17: 'the incarnation, not the name, tells queued from taken',
  R18: 'a leftover call keeps its resource',
}
