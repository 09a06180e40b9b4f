"""`gru-jax bench`: times gru_jax beside other libraries' GRUs, each with the same weights.

contenders: name, form, make(problem) --> calls --agreement--> interleaved rounds --> results
                                                                                    |
                                                         tables <-- one JSON schema --> figure
"""
