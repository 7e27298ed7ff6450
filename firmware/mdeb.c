// Multiplies 1.2 and 0.5 with the s390x's MDEB. Exit code 12 if that is 0.0125, as in QEMU 7.2.
int main(void) {
    float a = 1.2f, b = 0.5f;
    double product;
    __asm__("ler %0, %1\n\tmdeb %0, %2" : "=&f"(product) : "f"(a), "R"(b));
    return product == 0.5 * (double)a ? 0 : (int)(1000 * product);
}
