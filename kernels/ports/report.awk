# What a run printed, then the counts of plugin/ee_count.c: stages in order of time, the functions
# with 1 % of the instructions or more, and instructions per multiply-add of the matrix products.
BEGIN { FS = ": "; layout = "  %-32s %14.0f %5.1f %%\n" }
FILENAME ~ /console/ { print }
FILENAME ~ /console/ && $1 == "samples" { samples = $2 }
FILENAME ~ /console/ && $1 == "samples a second" { rate = $2 }
FILENAME ~ /console/ && $1 == "multiply-adds of matrix products" { products = $2 }
FILENAME ~ /counts/ {
    split($0, field, " ")
    if (field[1] == "total") {
        total = field[2]
        printf "instructions: %.0f\n", total
    } else if (field[1] == "stage") {
        printf layout, field[2], field[3], 100 * field[3] / total
        if (field[2] == "listen") {
            printf "instructions a second of audio: %.0f\n", field[3] / samples * rate
        }
    } else {
        if (!functions++) print "by function"
        if (field[3] >= total / 100) printf layout, field[2], field[3], 100 * field[3] / total
        if (field[2] ~ /^(ee_linear_|add_products$)/) linear += field[3]
    }
}
END {
    if (products && linear) {
        printf "matrix products: %.3f instructions a multiply-add\n", linear / products
    }
}
