unit                keys            what it is
------------------  --------------  ----------------------------------------
attention_linear    rank            leading degree 2
attention_merged    -               linear in its weights, leading degree 1
attention_softmax   rank            no silent point
conv_linear         kernel, stride  linear in its weights, leading degree 1
conv_relu           kernel, stride  homogeneous (positive), leading degree 1
cubic               bias            leading degree 3
diagonal            -               linear in its weights, leading degree 1
erf                 bias            leading degree 1
gelu                bias            leading degree 1
in_context_linear   rank            leading degree 2
in_context_merged   -               linear in its weights, leading degree 1
in_context_softmax  rank            no silent point
leaky_relu          bias            homogeneous (positive), leading degree 1
linear              bias            linear in its weights, leading degree 1
quadratic           bias            leading degree 2
relu                bias            homogeneous (positive), leading degree 1
sigmoid             bias            no silent point
sine                bias            leading degree 1
tanh                bias            leading degree 1
x_tanh_x            bias            leading degree 2
